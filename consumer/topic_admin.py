"""Create the topics of the contract, and say where existing ones differ from what the settings ask for."""

import time
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but exported without __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from msgspec import Struct

from consumer.errors import BrokerError
from consumer.kafka_config import kafka_config
from consumer.settings import Settings
from consumer.topics import TOPICS, Topic

TIMEOUT_SECONDS: Final = 15.0
CONFIG_TIMEOUT_SECONDS: Final = 5.0
# A correction lives in a track's record. Written over while no known lane runs, it must still be there when one comes
# back and publishes it again: a day is longer than the service is ever down.
_KEEP_OVERWRITTEN_MS: Final = 24 * 3600 * 1000


class TopicState(Struct, frozen=True):
    """A topic as the brokers have it.

    Parameters
    ----------
    partition_count, replication_factor : int
        As created.
    config : dict of str to str
        ``cleanup.policy``, ``min.insync.replicas`` and ``min.compaction.lag.ms``; empty where the broker does not tell.
    """

    partition_count: int
    replication_factor: int
    config: dict[str, str]


class TopicReport(Struct, frozen=True):
    """One topic of the contract, wanted and found.

    Parameters
    ----------
    topic : Topic
        What the contract says.
    state : TopicState or None
        What the brokers have; None where there is no such topic.
    created : bool
        Whether it was made just now.
    differences : tuple of str
        Where the two disagree.
    """

    topic: Topic
    state: TopicState | None
    created: bool
    differences: tuple[str, ...]


def connect(settings: Settings) -> AdminClient:
    """Connect to the brokers.

    Parameters
    ----------
    settings : Settings
        Brokers and security.

    Returns
    -------
    AdminClient
        Connected.

    Raises
    ------
    BrokerError
        If no broker answers.
    """
    # librdkafka's own lines would say the same once a second.
    admin = AdminClient(kafka_config(settings) | {"log_level": 0})
    try:
        admin.list_topics(timeout=TIMEOUT_SECONDS)
    except KafkaException as error:
        raise BrokerError(f"no broker answers at {settings.kafka_bootstrap_servers}: {error.args[0].str()}") from error
    return admin


def wanted_config(topic: Topic, settings: Settings) -> dict[str, str]:
    """Give the configuration a topic is created with.

    Parameters
    ----------
    topic : Topic
        One of the contract.
    settings : Settings
        Replication.

    Returns
    -------
    dict of str to str
        Kafka's topic configuration.
    """
    config = {"cleanup.policy": topic.cleanup, "min.insync.replicas": str(settings.topic_min_insync_replicas)}
    return config | {"min.compaction.lag.ms": str(_KEEP_OVERWRITTEN_MS)} if topic.cleanup == "compact" else config


def report_topics(admin: AdminClient, settings: Settings, *, create: bool = False) -> list[TopicReport]:
    """Look at every topic of the contract, and create those that are missing if asked to.

    Parameters
    ----------
    admin : AdminClient
        Connected.
    settings : Settings
        Partition count and replication wanted.
    create : bool
        Create missing topics. Existing ones are never altered: more partitions would part a track's key from its
        record.

    Returns
    -------
    list of TopicReport
        In the contract's order.

    Raises
    ------
    BrokerError
        If the brokers refuse.
    """
    found = describe_topics(admin)
    created = _create(admin, settings, [topic for topic in TOPICS if topic.name not in found]) if create else set()
    patience = time.monotonic() + TIMEOUT_SECONDS
    while not created <= found.keys() and time.monotonic() < patience:
        # The controller has made them; the broker we ask may hear of it a moment later.
        time.sleep(0.1)
        found = describe_topics(admin)
    return [
        TopicReport(
            topic=topic,
            state=found.get(topic.name),
            created=topic.name in created,
            differences=differences(topic, found.get(topic.name), settings),
        )
        for topic in TOPICS
    ]


def differences(topic: Topic, state: TopicState | None, settings: Settings) -> tuple[str, ...]:
    """Say where a topic differs from what is wanted.

    Parameters
    ----------
    topic : Topic
        One of the contract.
    state : TopicState or None
        As found.
    settings : Settings
        What is wanted.

    Returns
    -------
    tuple of str
        Each with what was expected and what is; empty where all agrees.
    """
    if state is None:
        return ("missing",)
    wanted = {
        "partitions": str(settings.topic_partition_count),
        "replication": str(settings.topic_replication_factor),
        **wanted_config(topic, settings),
    }
    is_ = {"partitions": str(state.partition_count), "replication": str(state.replication_factor), **state.config}
    return tuple(
        f"{name} is {is_[name]}, expected {value}"
        for name, value in wanted.items()
        if name in is_ and set(is_[name].split(",")) != {value}
    )


def describe_topics(admin: AdminClient) -> dict[str, TopicState]:
    """Describe the topics of the contract that exist.

    Parameters
    ----------
    admin : AdminClient
        Connected.

    Returns
    -------
    dict of str to TopicState
        By name.

    Raises
    ------
    BrokerError
        If the brokers stop answering.
    """
    try:
        metadata = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise BrokerError(f"cannot list the topics: {error.args[0].str()}") from error
    existing = [metadata[topic.name] for topic in TOPICS if topic.name in metadata and not metadata[topic.name].error]
    configs = _configs(admin, [str(topic.topic) for topic in existing])
    return {
        str(topic.topic): TopicState(
            partition_count=len(topic.partitions),
            replication_factor=min((len(partition.replicas) for partition in topic.partitions.values()), default=0),
            config=configs[str(topic.topic)],
        )
        for topic in existing
    }


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    configs = {}
    for resource, future in admin.describe_configs(resources, request_timeout=CONFIG_TIMEOUT_SECONDS).items():
        try:
            described = future.result()
        except KafkaException as error:
            # The embedded broker has no controller to ask, and some clusters do not let everyone: then only counts
            # are compared.
            if error.args[0].code() not in (KafkaError._TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED):
                raise BrokerError(f"cannot describe {resource.name}: {error.args[0].str()}") from error
            described = {}
        wanted = ("cleanup.policy", "min.insync.replicas", "min.compaction.lag.ms")
        configs[resource.name] = {name: described[name].value for name in wanted if name in described}
    return configs


def _create(admin: AdminClient, settings: Settings, topics: list[Topic]) -> set[str]:
    if not topics:
        return set()
    new = [
        NewTopic(
            topic.name,
            num_partitions=settings.topic_partition_count,
            replication_factor=settings.topic_replication_factor,
            config=wanted_config(topic, settings),
        )
        for topic in topics
    ]
    created = set()
    for name, future in admin.create_topics(new, request_timeout=TIMEOUT_SECONDS).items():
        try:
            future.result()
            created.add(name)
        except KafkaException as error:
            # Someone else was quicker; what they made is compared like any other.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerError(f"cannot create {name}: {error.args[0].str()}") from error
    return created
