"""The broker, the backlog and the turns of the stream's bench."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.bulk import PARTITIONS, bulk_producer, end_offset, play_json, read_one, send
from tests.integration.administration import CONTRACT, admin, create_topics, delete_topics
from tests.integration.auditor import Auditor
from tests.integration.processes import cpu_seconds, descendants, die_with_parent, is_alive
from tests.integration.traffic import Platform
from tests.integration.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
KNOWN_TRACKS = 10_000


@dataclass(frozen=True, slots=True)
class Contestant:
    """One program at the known lane's work.

    Parameters
    ----------
    name : str
        As the table shows it.
    command : list of str
        Takes brokers and a consumer group as its last two arguments; empty for the worker itself.
    events : int
        How much of the backlog is timed: enough for seconds of work, no more.
    settings : dict
        More of the worker's, without their prefix and in lower case.
    """

    name: str
    command: list[str]
    events: int
    settings: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One turn: events a second by the clock, and microseconds of processor time an event."""

    rate: float
    cpu_microseconds: float


class Bench:
    """The broker, the backlog and the turns.

    Parameters
    ----------
    bootstrap : str
        A broker of the bench's own.
    directory : Path
        Scratch space; ``audio`` below it holds the tracks.
    """

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self.bootstrap = bootstrap
        self.directory = directory
        self.platform = Platform(bootstrap, directory / "audio")

    def real_record(self) -> dict[str, object]:
        """Have the worker judge one track, and give its record: the model's real words, to be copied."""
        self.fresh_topics()
        with WorkerProcess(self.bootstrap, self.directory, "record", app_id="record"):
            self.platform.play(self.platform.track(0))
            self.platform.flush()
            with Auditor(self.bootstrap) as auditor:
                assert auditor.wait(self.platform.entries, 60).balanced
            record = read_one(self.bootstrap, "track-emotions")
        self.platform.book.clear()
        return record

    def fresh_topics(self) -> None:
        """Begin with empty topics."""
        delete_topics(self.bootstrap, CONTRACT & set(self._topics()))
        create_topics(self.bootstrap, partitions=PARTITIONS)

    def seed(self, record: dict[str, object], tracks: int) -> None:
        """Make so many tracks known by copies of a record."""
        producer = bulk_producer(self.bootstrap)
        template = json.dumps(record | {"track_id": "TRACK"})
        for number in range(tracks):
            name = f"track-{number:07d}"
            send(producer, "track-emotions", template.replace("TRACK", name), name)
        producer.flush()

    def backlog(self, events: int) -> None:
        """Put plays of known tracks into ``track-events``."""
        producer = bulk_producer(self.bootstrap)
        now = datetime.now(UTC).isoformat()
        for number in range(events):
            name = f"track-{number * 7919 % KNOWN_TRACKS:07d}"
            send(producer, "track-events", play_json(number, name, now), name)
        producer.flush()

    def turn(self, contestant: Contestant, label: str) -> Run:
        """Let one contestant work through the backlog under a new group, timed from a tenth of its events to all."""
        base = self.written()
        with self._started(contestant, label) as pid:
            deadline = time.monotonic() + 180
            while (done := self.written() - base) < contestant.events * 0.1:
                if not is_alive(pid) or time.monotonic() > deadline:
                    raise TimeoutError(f"{contestant.name} answered {done} events: {self._told(label)}")
                time.sleep(0.01)
            first, begun, cpu = done, time.monotonic(), family_cpu(pid)
            while (done := self.written() - base) < contestant.events:
                if not is_alive(pid) or time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{contestant.name} stopped at {done} of {contestant.events} events: {self._told(label)}"
                    )
                time.sleep(0.01)
            seconds, spent = time.monotonic() - begun, family_cpu(pid) - cpu
        return Run((done - first) / seconds, 1e6 * spent / (done - first))

    def written(self) -> int:
        """Give the number of answers in Kafka; every transaction counts as one more in each partition it wrote to."""
        return end_offset(self.bootstrap, "emotion-events")

    def ends(self) -> dict[int, int]:
        """Give the end of each partition of ``emotion-events``."""
        return {place: end_offset(self.bootstrap, "emotion-events", place) for place in range(PARTITIONS)}

    @contextlib.contextmanager
    def _started(self, contestant: Contestant, label: str) -> Iterator[int]:
        if not contestant.command:
            settings = {"lanes": "known", "app_id": label, "log_level": "WARNING"} | contestant.settings
            worker = WorkerProcess(self.bootstrap, self.directory, label, **settings)
            with worker.start(wait=False):
                yield worker.pid
            return
        with (self.directory / f"{label}.log").open("wb") as log:
            process = subprocess.Popen(
                [*contestant.command, self.bootstrap, label],
                cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
                preexec_fn=die_with_parent,
            )  # fmt: skip
        try:
            yield process.pid
        finally:
            process.kill()
            process.wait()

    def _told(self, label: str) -> str:
        return (self.directory / f"{label}.log").read_text(errors="replace")[-2000:]

    def _topics(self) -> list[str]:
        return list(admin(self.bootstrap).list_topics(timeout=10).topics)


def family_cpu(pid: int) -> float:
    """Give the processor time of a process and everything below it, in seconds."""
    return sum(cpu_seconds(member) for member in [pid, *descendants(pid)])
