"""The Faust application: one agent on ``track-analysis``, and how Faust is set up so that it loses nothing."""

import logging
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any, Final

import faust
from faust.types import TP
from yarl import URL

from consumer.faust_consumer import LaneTransport, PartitionListener
from consumer.kafka_config import HEARTBEAT_SECONDS, faust_broker, faust_credentials
from consumer.log_config import logging_config
from consumer.new_lane import Incoming
from consumer.settings import Settings
from consumer.topics import TRACK_ANALYSIS

logger = logging.getLogger(__name__)

# What is acknowledged is committed so often: what was not is answered again after a kill -9.
_COMMIT_INTERVAL_SECONDS: Final = 0.5
# Events Faust holds for the agent before it pauses a partition.
_BUFFERED_EVENTS: Final = 256
# Some 150 events of a partition in one fetch: what came later, in another one, waits until all of it is handed over.
_FETCH_BYTES: Final = 64 * 1024
# Faust hands over a whole fetch before it fetches again. aiokafka leaves the group when it is not asked for so long,
# and rejoins only when asked again, which Faust does only once it has rejoined: behind an import of thousands of
# uploads the lane stopped for ever. Whether it moves is watched by the worker itself (NewLaneService).
_NEVER_SECONDS: Final = 10 * 365 * 86_400.0
# Long enough to finish the analyses that stand before finished ones; see LaneConsumer.on_partitions_revoked.
REBALANCE_TIMEOUT_SECONDS: Final = 60.0

Accept = Callable[[Incoming, Callable[[], bool]], Awaitable[None]]


def create_app(settings: Settings, accept: Accept, listener: PartitionListener) -> faust.App:
    """Create the Faust application of the new lane.

    Parameters
    ----------
    settings : Settings
        The worker's.
    accept : callable
        Takes one event in; awaits while there is no room. Given the event and a function that tells whether its
        partition was not revoked meanwhile.
    listener : PartitionListener
        Told when partitions move.

    Returns
    -------
    faust.App
        Not started. It serves no web pages, declares no topics, keeps no tables and elects no leader.
    """
    broker = faust_broker(settings)
    app = faust.App(
        settings.app_id,
        broker=broker,
        broker_credentials=faust_credentials(settings),
        broker_client_id=settings.app_id,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_request_timeout=max(90.0, settings.session_timeout_seconds),
        broker_rebalance_timeout=REBALANCE_TIMEOUT_SECONDS,
        broker_commit_interval=_COMMIT_INTERVAL_SECONDS,
        broker_max_poll_interval=_NEVER_SECONDS,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=_FETCH_BYTES,
        # Faust makes this folder whether or not there is a table to keep in it.
        datadir=f"{tempfile.gettempdir()}/{settings.app_id}-faust",
        logging_config=logging_config(settings),
        processing_guarantee="at_least_once",
        stream_buffer_maxsize=_BUFFERED_EVENTS,
        # Waiting for streams that never end made SIGTERM hang; the worker drains the lane itself.
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.transport = LaneTransport([URL(part) for part in broker.split(";")], app, listener=listener)
    # Raw bytes: Faust acknowledges what it cannot decode.
    topic = app.topic(
        TRACK_ANALYSIS.name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    @app.agent(topic, name="new-lane", concurrency=1)
    async def new_lane(stream: Any) -> None:
        async for event in stream.noack().events():
            await accept(_incoming(app, event), _is_current(app, event))

    return app


def _incoming(app: faust.App, event: Any) -> Incoming:
    message = event.message
    return Incoming(
        partition=message.partition,
        offset=message.offset,
        follows=message.checksum,
        key=message.key,
        value=message.value,
        headers=list(message.headers or []),
        acknowledge=lambda: message.ack(app.consumer),
    )


def _is_current(app: faust.App, event: Any) -> Callable[[], bool]:
    def is_current() -> bool:
        return bool(event.message.generation_id == app.consumer_generation_id)

    return is_current


def analysis_partitions(partitions: set[TP]) -> list[int]:
    """Give the numbers of the partitions of ``track-analysis``.

    Parameters
    ----------
    partitions : set of TP
        As Faust reports an assignment.

    Returns
    -------
    list of int
        In order.
    """
    return sorted(tp.partition for tp in partitions if tp.topic == TRACK_ANALYSIS.name)


def buffered_events(app: faust.App) -> int:
    """Count the events that Faust holds for the agent.

    Parameters
    ----------
    app : faust.App
        From ``create_app``.

    Returns
    -------
    int
        Fetched, and not taken by the lane yet.
    """
    return sum(actor.stream.channel.queue.qsize() for agent in app.agents.values() for actor in agent._actors)
