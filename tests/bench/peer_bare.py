"""A bare confluent-kafka loop with the worker's guarantee: produce a batch, wait for all of it, commit."""

import sys

from confluent_kafka import Consumer, KafkaError, Message, Producer

from consumer.settings import Settings
from tests.bench.peer_work import LINGER_MS, Moment, answer, load_table


def main(bootstrap: str, group: str) -> None:
    """Answer plays until killed."""
    table = load_table(bootstrap)
    batch_events = Settings().known_batch_events
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "delivery.report.only.error": True,
            "linger.ms": LINGER_MS,
            "queue.buffering.max.messages": 1_000_000,
            "on_delivery": delivered,
        }
    )
    consumer.subscribe(["track-events"])
    while True:
        batch = consumer.consume(batch_events, 0.05)
        moment = Moment.now()
        for message in batch:
            if message.error() is not None:
                raise SystemExit(str(message.error()))
            key, value, headers = answer(message.value() or b"", table, moment)
            producer.produce("emotion-events", value, key, headers=headers)
        if batch:
            producer.flush()
            if failures:
                raise SystemExit(str(failures[0]))
            # As the worker: a commit that is lost gives events again, and none is lost with it.
            consumer.commit(asynchronous=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
