"""``emotion-stream topics`` and ``dead-letters`` on a real broker."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from consumer.commands import dead_letters, topics
from consumer.dead_letter import build_dead_letter
from consumer.errors import Reason
from consumer.topics import DEAD_LETTERS, TOPICS
from tests.integration.administration import admin, delete_topics

pytestmark = pytest.mark.kafka


@pytest.fixture
def empty_broker(shared_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("EMOTION_KAFKA_BOOTSTRAP_SERVERS", shared_bootstrap)
    monkeypatch.setenv("EMOTION_TOPIC_PARTITION_COUNT", "3")
    yield shared_bootstrap
    delete_topics(
        shared_bootstrap, {topic.name for topic in TOPICS} & set(admin(shared_bootstrap).list_topics().topics)
    )


def rows(*arguments: str, status: int = 0) -> list[dict[str, object]]:
    result = CliRunner().invoke(topics.command, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == status, result.output
    loaded: list[dict[str, object]] = json.loads(result.output)
    return loaded


def test_topics_create_makes_all_once_with_their_configuration(empty_broker: str) -> None:
    assert all(row["differences"] == ["missing"] for row in rows("list", status=1))
    created = rows("create")
    assert all(row["created"] and row["partitions"] == 3 for row in created)
    cleanup = {row["topic"]: row["config"]["cleanup.policy"] for row in created}  # type: ignore[index]  # described
    assert cleanup == {topic.name: topic.cleanup for topic in TOPICS}
    assert not any(row["created"] for row in rows("create"))


def test_topics_create_completes_a_partial_set_and_alters_nothing(
    empty_broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows("create")
    delete_topics(empty_broker, {DEAD_LETTERS.name})
    monkeypatch.setenv("EMOTION_TOPIC_PARTITION_COUNT", "5")
    again = {row["topic"]: row for row in rows("create", status=1)}
    assert again[DEAD_LETTERS.name]["created"]
    assert again[DEAD_LETTERS.name]["partitions"] == 5
    assert again["track-events"]["partitions"] == 3
    assert again["track-events"]["differences"] == ["partitions is 3, expected 5"]


def test_dead_letters_are_listed_and_replayed_once(empty_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The broker is shared, and remembers the replays of earlier runs by the application's id.
    monkeypatch.setenv("EMOTION_APP_ID", f"test-{datetime.now(UTC):%H%M%S%f}")
    rows("create")
    producer = Producer({"bootstrap.servers": empty_broker})
    for number in range(5):
        letter = build_dead_letter(
            topic="track-events",
            partition=0,
            offset=number,
            key=b"k%d" % number,
            value=b"{",
            headers=None,
            reason=Reason.TIMEOUT if number % 2 else Reason.INVALID_JSON,
            message="not JSON",
            attempts=1,
            first_seen=datetime.now(UTC),
        )
        producer.produce(DEAD_LETTERS.name, value=letter.value, key=letter.key, headers=list(letter.headers))
    assert producer.flush(10) == 0
    run = CliRunner()
    listed = run.invoke(dead_letters.command, ["list", "--json"], catch_exceptions=False)
    assert len(listed.output.splitlines()) == 5
    first = run.invoke(dead_letters.command, ["replay", "--reason", "timeout"], catch_exceptions=False)
    assert first.output == "2 dead letters replayed (2 timeout).\n"
    second = run.invoke(dead_letters.command, ["replay"], catch_exceptions=False)
    assert second.output == "3 dead letters replayed (3 invalid_json).\n2 were replayed before (2 timeout).\n"
