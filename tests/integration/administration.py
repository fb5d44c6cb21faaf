"""Topics, offsets and leaders, asked of a broker by the admin client."""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, though its module names no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from consumer.topics import DEAD_LETTERS, EMOTION_EVENTS, TOPICS, TRACK_ANALYSIS, TRACK_EVENTS

LANES = ("known", "new")
# Stamped by the broker: only that tells when an answer was there to be read, however long its producer held it.
_OUTCOMES = (EMOTION_EVENTS, DEAD_LETTERS)
CONTRACT = frozenset(topic.name for topic in TOPICS)


def admin(bootstrap: str) -> AdminClient:
    """Give an admin client that keeps quiet about brokers the tests take down on purpose."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def create_topics(bootstrap: str, *, partitions: int = 4, replication: int = 1, only: Iterable[str] = CONTRACT) -> None:
    """Create the topics of the contract and wait until each partition has a leader."""
    client = admin(bootstrap)
    names = set(only)
    wanted = [
        NewTopic(
            topic.name, partitions, replication,
            config={
                "cleanup.policy": topic.cleanup,
                "max.message.bytes": str(2**21),
                "message.timestamp.type": "LogAppendTime" if topic in _OUTCOMES else "CreateTime",
            },
        )
        for topic in TOPICS
        if topic.name in names
    ]  # fmt: skip
    for created in client.create_topics(wanted).values():
        created.result(timeout=30)
    _await_leaders(client, [topic.topic for topic in wanted])


def delete_topics(bootstrap: str, names: Iterable[str]) -> None:
    """Delete topics and wait until the broker has forgotten them."""
    client = admin(bootstrap)
    wanted = set(names)
    if not wanted:
        return
    for deleted in client.delete_topics(list(wanted)).values():
        deleted.result(timeout=30)
    deadline = time.monotonic() + 30
    while wanted & set(client.list_topics(timeout=10).topics):
        if time.monotonic() > deadline:
            raise TimeoutError(f"topics still there after 30 s: {wanted}")


def lag(bootstrap: str, *, app_id: str = "emotion-stream", lanes: Iterable[str] = LANES) -> int:
    """Sum what the service has not yet acknowledged, in messages.

    A partition that a lane has never committed counts with all it holds, and so does every one of a group that is not
    there: a worker that commits nothing has not caught up.

    Parameters
    ----------
    bootstrap : str
        Brokers.
    app_id : str
        The service's.
    lanes : iterable of {'known', 'new'}
        Those that run.
    """
    sources = {"known": (f"{app_id}-known", TRACK_EVENTS.name), "new": (app_id, TRACK_ANALYSIS.name)}
    total = 0
    for lane in lanes:
        group, topic = sources[lane]
        committed = committed_offsets(bootstrap, group, topic)
        ends = end_offsets(bootstrap, topic)
        total += sum(max(0, end - committed.get(partition, 0)) for partition, end in ends.items())
    return total


def await_no_lag(
    bootstrap: str, timeout_seconds: float = 30.0, *, lanes: Iterable[str] = LANES, but_for: int = 0
) -> None:
    """Wait until the service has acknowledged everything (but for so many), and fail if it does not in time."""
    deadline = time.monotonic() + timeout_seconds
    while (left := lag(bootstrap, lanes=lanes)) > but_for:
        assert time.monotonic() < deadline, f"lag of {left} after {timeout_seconds:.0f} s"
        time.sleep(0.2)


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """Give a group's committed offset per partition of ``topic``; none where it never committed."""
    client = admin(bootstrap)  # kept: its futures never complete once it is gone
    groups = client.list_consumer_groups().result(timeout=30).valid or []
    if group not in {found.group_id for found in groups}:
        return {}
    request = [ConsumerGroupTopicPartitions(group)]
    places = client.list_consumer_group_offsets(request)[group].result(timeout=30).topic_partitions
    return {place.partition: place.offset for place in places or [] if place.topic == topic and place.offset >= 0}


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Give the end of each partition of a topic."""
    probe = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends", "log_level": 0})
    try:
        partitions = probe.list_topics(topic, timeout=10).topics[topic].partitions
        return {p: probe.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    finally:
        probe.close()


def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """Read a topic from its beginning to its end."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True, "log_level": 0}
    )
    try:
        places = [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
        consumer.assign(places)
        # Any: what was read has a partition, an offset and a value, which the client's types leave open.
        ended, messages = 0, list[Any]()
        while ended < len(places):
            for message in consumer.consume(1000, 1.0):
                error = message.error()
                if error is None:
                    messages.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
        return messages
    finally:
        consumer.close()


def partition_leader(bootstrap: str, topic: str, partition: int) -> int:
    """Give the node id of a partition's leader."""
    leader: int = admin(bootstrap).list_topics(topic, timeout=10).topics[topic].partitions[partition].leader
    return leader


def set_topic_config(bootstrap: str, topic: str, name: str, value: str) -> None:
    """Set one setting of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin(bootstrap)
    for done in client.incremental_alter_configs([resource]).values():
        done.result(timeout=30)


def _await_leaders(client: AdminClient, names: list[str]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        known = client.list_topics(timeout=10).topics
        with suppress(KeyError):
            if all(p.leader >= 0 for name in names for p in known[name].partitions.values()):
                return
    raise TimeoutError(f"no leader for every partition of {names}")
