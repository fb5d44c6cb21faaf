"""Run the playlist service: ``EMOTION_KAFKA_BOOTSTRAP_SERVERS=host:port python -m deploy.demo.playlist``.

A session that was never announced gets every track heard of so far as its queue. Each change of a queue is one line
of JSON on standard output.
"""

import os
import signal
import threading
from typing import get_args

import click
import msgspec

from consumer.events import EmotionLabel
from consumer.settings import Settings
from deploy.demo.playlist.service import PlaylistService
from deploy.demo.playlist.sessions import Sessions


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--group", default="playlist-service", show_default=True, help="Consumer group.")
@click.option(
    "--target", default="relax", show_default=True, type=click.Choice(get_args(EmotionLabel)), help="Where queues lead."
)
def main(group: str, target: EmotionLabel) -> None:
    """Reorder queues by emotion until SIGINT or SIGTERM; where Kafka is, the worker's EMOTION_* settings say."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    service = PlaylistService(
        Settings.from_environment(os.environ),
        group,
        Sessions(target),
        lambda change: click.echo(msgspec.json.encode(change).decode()),
    )
    service.run(stop)


if __name__ == "__main__":
    main()
