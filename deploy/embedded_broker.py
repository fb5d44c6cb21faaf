"""A Kafka broker inside a Python process, for the demo and for tests on a machine without Kafka.

It is librdkafka's mock cluster, which confluent-kafka's wheel carries but does not wrap; the few C functions needed
are called through ctypes. It speaks Kafka's protocol over TCP on loopback to any client: topics, groups, commits,
resume after a restart, idempotent producers.

It is no evidence for guarantees: everything is in memory and only about the last 5 MB of a partition are kept, there
is no compaction, CreateTopics and DescribeGroups are missing, transactions do not abort, and record timestamps come
back as 1234. A group that lost a member, even one that left politely, hands out partitions again only when the
session timeout less one second has passed: 2 to 6 s are good values of ``session.timeout.ms``.

References
----------
.. [1] librdkafka, ``src/rdkafka_mock.h``.
"""

import ctypes
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from confluent_kafka import cimpl

from consumer.topics import TOPICS

_RD_KAFKA_PRODUCER: Final = 0
# Kafka's own default of 3 s, copied by the mock, would be most of a test's time.
_REBALANCE_DELAY_MS: Final = 100


def _load_librdkafka() -> ctypes.CDLL:
    # The extension module is linked to the bundled library, whose file name has a hash in it: symbols looked up in
    # the first are found in the second, and it is certain to be the copy that confluent-kafka itself uses.
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_conf_destroy", None, [pointer]),
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_err2str", text, [number]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@contextmanager
def embedded_broker(
    partitions: int = 4, topics: Iterable[str] = tuple(topic.name for topic in TOPICS)
) -> Iterator[str]:
    """Run a broker in this process for the length of a ``with`` block.

    Any number can run beside each other; each has its own port and forgets everything when the block ends. Clients
    of the block should be closed inside it.

    Parameters
    ----------
    partitions : int
        Partitions of every topic, >= 1.
    topics : iterable of str
        Topics to create; those of the contract by default. Others are created on first use, always with 4
        partitions.

    Yields
    ------
    str
        ``bootstrap.servers`` of the broker, ``127.0.0.1:port``.

    Raises
    ------
    ValueError
        If ``partitions`` is below 1.
    RuntimeError
        If librdkafka refuses to create the broker or a topic (one named twice).
    """
    if partitions < 1:
        raise ValueError(f"expected at least one partition, got {partitions}")
    library = _load_librdkafka()
    message = ctypes.create_string_buffer(512)
    configuration = library.rd_kafka_conf_new()
    # Clients come and go; each would otherwise be a line on stderr.
    library.rd_kafka_conf_set(configuration, b"log_level", b"0", message, len(message))
    client = library.rd_kafka_new(_RD_KAFKA_PRODUCER, configuration, message, len(message))
    if not client:
        library.rd_kafka_conf_destroy(configuration)
        raise RuntimeError(f"librdkafka gave no client for the embedded broker: {message.value.decode()}")
    cluster = None
    try:
        cluster = library.rd_kafka_mock_cluster_new(client, 1)
        if not cluster:
            raise RuntimeError("librdkafka gave no mock cluster for the embedded broker")
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, _REBALANCE_DELAY_MS)
        for topic in topics:
            error = library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1)
            if error:
                reason = library.rd_kafka_err2str(error).decode()
                raise RuntimeError(f"the embedded broker refused topic {topic} with {partitions} partitions: {reason}")
        yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    finally:
        if cluster:
            library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--partitions", default=4, show_default=True, type=click.IntRange(1, 1000), help="Of every topic.")
@click.option("--port-file", type=click.Path(path_type=Path), help="Write the port here once the broker listens.")
def main(partitions: int, port_file: Path | None) -> None:
    """Run the embedded broker until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with embedded_broker(partitions) as bootstrap:
        click.echo(f"embedded broker at {bootstrap}")
        if port_file is not None:
            # Renamed into place: whoever waits for the file never reads half a number.
            draft = port_file.with_name(port_file.name + ".draft")
            draft.write_text(bootstrap.rpartition(":")[2])
            draft.replace(port_file)
        stop.wait()


if __name__ == "__main__":
    main()
