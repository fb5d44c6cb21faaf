"""Quix Streams doing the same: at-least-once, its own checkpoints, a dictionary instead of a state store."""

import sys

from quixstreams import Application

from tests.bench.peer_work import LINGER_MS, Moment, answer, load_table


def main(bootstrap: str, group: str) -> None:
    """Answer plays until killed."""
    table = load_table(bootstrap)
    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        processing_guarantee="at-least-once",
        producer_extra_config={
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": LINGER_MS,
        },
        loglevel="WARNING",
    )
    events = app.topic("track-events", value_deserializer="bytes", key_deserializer="bytes")
    emotions = app.topic("emotion-events", value_serializer="bytes", key_serializer="bytes")
    stream = app.dataframe(events)
    stream = stream.apply(lambda value: answer(value, table, Moment.now()))
    stream = stream.set_headers(lambda answered, *_: answered[2])
    stream = stream.apply(lambda answered: answered[1])
    stream.to_topic(emotions)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
