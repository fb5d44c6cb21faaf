"""One run of the demo: everything is started, the scenario is played, everything is ended, the summary is written."""

import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from consumer.settings import Settings
from consumer.topic_admin import connect, report_topics
from deploy.demo.ledger import Ledger
from deploy.demo.observer import Observer
from deploy.demo.playlist.service import PlaylistService
from deploy.demo.playlist.sessions import Sessions
from deploy.demo.scenario import Scenario
from deploy.demo.streaming_platform import StreamingPlatform
from deploy.demo.view import View
from deploy.demo.worker_process import WorkerProcess, free_port

EMBEDDED_PARTITIONS: Final = 4
WORKER: Final = (sys.executable, "-m", "consumer", "worker")
# A first start compiles the ear's kernels; afterwards they come from a cache.
_READY_SECONDS: Final = 150.0
_ASSIGNED_SECONDS: Final = 30.0


def run(
    scenario: Scenario,
    bootstrap: str,
    roots: Sequence[Path],
    console: Console,
    *,
    is_embedded: bool,
    worker_command: Sequence[str] = WORKER,
) -> int:
    """Play a scenario through a worker.

    Parameters
    ----------
    scenario : Scenario
        Who and what plays.
    bootstrap : str
        ``bootstrap.servers``; missing topics are created.
    roots : sequence of Path
        Folders the worker may read audio from.
    console : Console
        Where to write.
    is_embedded : bool
        Whether the broker is the embedded one, which wants other settings.
    worker_command : sequence of str
        What to start as the worker.

    Returns
    -------
    int
        0 if every event had exactly one outcome and the worker ended in order, else 1.

    Raises
    ------
    WorkerError
        If the worker ends too early or never becomes ready.
    ConfigurationError
        If the environment holds settings that do not parse.
    BrokerError
        If there is no Kafka, or it refuses to create the topics.
    KafkaException
        If Kafka refuses what the platform or the playlist service asks.
    """
    environment = _worker_environment(bootstrap, roots, is_embedded=is_embedded)
    settings = Settings.from_environment(environment)
    names = {listener.session_id: listener.name for listener in scenario.listeners}
    view = View(console, scenario.titles, names)
    ledger = Ledger()

    log = Path(".cache") / "demo-worker.log"
    log.parent.mkdir(exist_ok=True)
    service = PlaylistService(settings, f"playlist-{uuid.uuid4().hex[:8]}", Sessions(), view.change)
    if not is_embedded:
        reports = report_topics(connect(settings), settings, create=True)
        view.note(f"{sum(report.created for report in reports)} of {len(reports)} topics were missing and are created")
    with (
        closing(Observer(settings, ledger, view.outcome)) as observer,
        closing(StreamingPlatform(settings, ledger.expect)) as platform,
    ):
        view.note(f"starting the worker on {'the embedded broker' if is_embedded else 'Kafka'} at {bootstrap} ...")
        worker = WorkerProcess(worker_command, environment, settings.metrics_port, log)
        try:
            with _in_thread(service.run, "playlist"), _in_thread(observer.run, "observer"):
                waited = worker.wait_until_ready(
                    _READY_SECONDS, lambda missing: view.note(f"  still starting, it waits for {missing} ...")
                )
                service.assigned.wait(_ASSIGNED_SECONDS)
                view.note(f"worker ready after {waited:.1f} s: {worker.url}/metrics, log in {log}")
                view.header()
                scenario.perform(platform, service, ledger, view.act)
                worker.check()
        finally:
            # A second Ctrl-C must not leave the worker behind; ending it is bounded.
            interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
            status = worker.stop()
            signal.signal(signal.SIGINT, interrupt)
        # Nobody writes any more: a second outcome would be here by now.
        observer.drain()
    view.summary(ledger, service.feedback_sent, {session_id: service.queue(session_id) for session_id in names})
    if status != 0:
        view.note(f"the worker ended with status {status}, expected 0; see {log}")
    return 0 if ledger.is_complete and status == 0 else 1


def _worker_environment(bootstrap: str, roots: Sequence[Path], *, is_embedded: bool) -> dict[str, str]:
    environment = {
        "EMOTION_METRICS_PORT": str(free_port(8000)),
        "EMOTION_LOG_FORMAT": "console",
        **os.environ,
        "EMOTION_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "EMOTION_AUDIO_ROOTS": ",".join(map(str, roots)),
    }
    if is_embedded:
        environment["EMOTION_TOPIC_PARTITION_COUNT"] = str(EMBEDDED_PARTITIONS)
        environment["EMOTION_SESSION_TIMEOUT_SECONDS"] = "6"
        # It answers a fetch only when the longest wait has passed, not as soon as there is an event.
        environment["EMOTION_POLL_TIMEOUT_SECONDS"] = "0.05"
    return environment


@contextmanager
def _in_thread(loop: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Run a loop beside a ``with`` block, end it with the block, and raise there what it raised."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            loop(stop)
        except BaseException as error:  # handed over below
            failures.append(error)

    thread = threading.Thread(target=guarded, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
