"""Topics: what differs is said, what exists is never altered."""

import json

import pytest
from click.testing import CliRunner

from consumer.commands.topics import command
from consumer.settings import Settings
from consumer.topic_admin import TopicState, differences, wanted_config
from consumer.topics import TOPICS, TRACK_EMOTIONS, TRACK_EVENTS
from deploy.embedded_broker import embedded_broker

THREE = Settings(topic_partition_count=6, topic_replication_factor=3)


def state(partitions: int = 6, replication: int = 3, cleanup: str = "delete", isr: str = "2") -> TopicState:
    return TopicState(partitions, replication, {"cleanup.policy": cleanup, "min.insync.replicas": isr})


def test_wanted_config_survives_one_broker_down() -> None:
    assert wanted_config(TRACK_EMOTIONS, THREE)["min.insync.replicas"] == "2"
    assert wanted_config(TRACK_EVENTS, Settings()) == {"cleanup.policy": "delete", "min.insync.replicas": "1"}


def test_wanted_config_keeps_overwritten_records_for_a_day() -> None:
    config = wanted_config(TRACK_EMOTIONS, THREE)
    assert (config["cleanup.policy"], config["min.compaction.lag.ms"]) == ("compact", "86400000")
    hasty = TopicState(6, 3, config | {"min.compaction.lag.ms": "0"})
    assert differences(TRACK_EMOTIONS, hasty, THREE) == ("min.compaction.lag.ms is 0, expected 86400000",)


def test_differences_none_where_all_agrees() -> None:
    assert differences(TRACK_EVENTS, state(), THREE) == ()
    assert differences(TRACK_EMOTIONS, state(cleanup="compact"), THREE) == ()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, "missing"),
        (state(partitions=4), "partitions is 4, expected 6"),
        (state(replication=1), "replication is 1, expected 3"),
        (state(cleanup="compact"), "cleanup.policy is compact, expected delete"),
        (state(cleanup="compact,delete"), "cleanup.policy is compact,delete, expected delete"),
        (state(isr="1"), "min.insync.replicas is 1, expected 2"),
    ],
)
def test_differences_says_what_was_expected_and_what_is(found: TopicState | None, expected: str) -> None:
    assert differences(TRACK_EVENTS, found, THREE) == (expected,)


def test_differences_compares_only_what_the_broker_tells() -> None:
    assert differences(TRACK_EVENTS, TopicState(6, 3, {}), THREE) == ()


def test_list_tells_of_another_partition_count_with_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    # The embedded broker has no controller to ask for configurations: no need to wait for it.
    monkeypatch.setattr("consumer.topic_admin.CONFIG_TIMEOUT_SECONDS", 0.1)
    with embedded_broker(partitions=4) as servers:
        monkeypatch.setenv("EMOTION_KAFKA_BOOTSTRAP_SERVERS", servers)
        differing = CliRunner().invoke(command, ["list"])
        monkeypatch.setenv("EMOTION_TOPIC_PARTITION_COUNT", "4")
        agreeing = CliRunner().invoke(command, ["create", "--json"])
    assert differing.exit_code == 1
    assert "partitions is 4, expected 12: track-events, " in differing.output
    assert agreeing.exit_code == 0
    rows = json.loads(agreeing.output)
    assert [row["topic"] for row in rows] == [topic.name for topic in TOPICS]
    assert all(row["exists"] and not row["created"] and row["partitions"] == 4 for row in rows)


def test_list_without_brokers_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.topic_admin.TIMEOUT_SECONDS", 0.2)
    monkeypatch.setenv("EMOTION_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    result = CliRunner().invoke(command, ["list"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: no broker answers at 127.0.0.1:1: ")
    assert len(result.output.splitlines()) == 1


def test_create_with_a_bad_setting_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOTION_TOPIC_PARTITION_COUNT", "none")
    result = CliRunner().invoke(command, ["create"])
    assert (result.exit_code, "EMOTION_TOPIC_PARTITION_COUNT" in result.output) == (1, True)
