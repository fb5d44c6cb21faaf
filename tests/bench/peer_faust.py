"""A plain Faust agent doing the same, as its manual writes it: the send is awaited, its acknowledgement is not."""

import sys

import faust

from tests.bench.peer_work import Moment, answer, load_table


def main(bootstrap: str, group: str) -> None:
    """Answer plays until killed."""
    table = load_table(bootstrap)
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        datadir="/tmp/faust-peer",  # noqa: S108 -- holds nothing: the agent keeps no table
    )
    events = app.topic("track-events", value_type=bytes, key_type=bytes, value_serializer="raw", key_serializer="raw")
    emotions = app.topic(
        "emotion-events", value_type=bytes, key_type=bytes, value_serializer="raw", key_serializer="raw"
    )

    @app.agent(events)
    async def answer_plays(stream):  # type: ignore[no-untyped-def]  # as Faust's manual writes it
        async for value in stream:
            key, answered, headers = answer(value, table, Moment.now())
            await emotions.send(key=key, value=answered, headers=headers)

    sys.argv = ["faust", "worker", "--without-web", "-l", "warn"]
    app.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
