"""Run the demo: a broker, the worker, a platform that plays music, and a playlist that changes.

``make run`` calls ``python -m deploy.demo``.
"""

import signal
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
from confluent_kafka import KafkaException
from rich.console import Console

from consumer.errors import EmotionServiceError
from deploy.demo.run import EMBEDDED_PARTITIONS, run
from deploy.demo.scenario import Scenario
from deploy.demo.streaming_platform import two_listeners
from deploy.demo.tracks import break_track, find_tracks
from deploy.demo.worker_process import WorkerError
from deploy.embedded_broker import embedded_broker

CATALOGUE: Final = Path(__file__).parent / "catalogue"
# Of a pipe or a log: the longest line there is.
_LOG_WIDTH: Final = 110


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--plays", default=24, show_default=True, type=click.IntRange(1), help="How many plays.")
@click.option(
    "--audio",
    default=CATALOGUE,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of music to play instead of the demo's own.",
)
@click.option("--kafka", help="A real broker, host:port, instead of the embedded one.")
def main(plays: int, audio: Path, kafka: str | None) -> None:
    """Play music through the worker and show what it hears; exit 0 if every event had exactly one outcome."""
    run_id = uuid.uuid4().hex[:8]
    tracks = find_tracks(audio, run_id)
    if "," in str(audio.resolve()):
        raise click.UsageError(f"the worker's list of audio folders is comma-separated; rename {audio}")
    if not tracks:
        raise click.UsageError(f"expected audio files in {audio}, found none")
    # Also SIGINT: a shell that starts us in the background has it ignored, and that would be inherited.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emotion-stream-")))
            # The last track by name is kept back: it is heard for the first time when somebody plays it.
            scenario = Scenario(
                uploads=tracks[:-1] or tracks,
                unheard=tracks[-1] if len(tracks) > 1 else None,
                broken=break_track(tracks[0], folder, run_id),
                listeners=two_listeners(run_id),
                play_count=plays,
            )
            bootstrap = kafka or stack.enter_context(embedded_broker(EMBEDDED_PARTITIONS))
            roots = (audio.resolve(), folder.resolve())
            console = Console(highlight=False, width=None if sys.stdout.isatty() else _LOG_WIDTH)
            sys.exit(run(scenario, bootstrap, roots, console, is_embedded=kafka is None))
    except KeyboardInterrupt:
        click.echo("\nstopped; the worker and the broker have ended", err=True)
        sys.exit(130)
    except (WorkerError, EmotionServiceError, KafkaException) as error:
        click.echo(f"\n{error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
