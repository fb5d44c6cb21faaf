"""The worker as the image runs it: no root, no capabilities, nothing writable but one folder; and it answers.

A mount namespace of its own stands in for the container. Other users may not look into the folder of whoever runs the
tests, where Python may be installed: what the worker needs is mounted again where everybody can reach it.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from numba.core.caching import UserProvidedCacheLocator

import features
from consumer.events import EmotionEvent
from consumer.topics import EMOTION_EVENTS, TRACK_EVENTS
from deploy.embedded_broker import embedded_broker
from tests.consumer.records import track_event_json
from tests.integration.processes import die_with_parent
from tests.integration.traffic import write_track
from tests.integration.worker import WorkerProcess

ROOT: Final = Path(__file__).resolve().parents[2]
# The image's.
USER: Final = 10_001
ANSWER_SECONDS: Final = 60.0


@pytest.fixture
def stage() -> Iterator[Path]:
    """Give a folder that every user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="emotion-stream-root-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def require_namespaces() -> None:
    programs = [name for name in ("unshare", "setpriv", "mount") if shutil.which(name) is None]
    if programs:
        pytest.skip(f"needs {', '.join(programs)} (util-linux)")
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"may not mount anything here: {tried.stderr.strip()}")


class ConfinedWorker(WorkerProcess):
    """A worker that is started by a shell script of its own, in a mount namespace of its own."""

    script = ""

    def start(self, *, wait: bool = True) -> Self:
        """Start the process and, by default, wait until it says it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", self.script],
                env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
            )  # fmt: skip
        if wait:
            self.wait_ready()
        return self


def confinement(stage: Path, worker: list[str]) -> str:
    """Write the shell script that sets the stage, makes everything else read-only and becomes an unprivileged user."""
    needed = [Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT]
    closed = {c for path in needed for c in path.parents if not c.stat().st_mode & 0o001}
    outermost = [folder for folder in closed if not closed & set(folder.parents)]
    lines = ["set -e"]
    for number, path in enumerate(needed):
        lines += [f"mkdir {stage}/{number}", f"mount --bind {shlex.quote(str(path))} {stage}/{number}"]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}" for folder in outermost]
    for number, path in enumerate(needed):
        if any(path.is_relative_to(folder) for folder in outermost):
            quoted = shlex.quote(str(path))
            lines += [f"mkdir -p {quoted}", f"mount --bind {stage}/{number} {quoted}"]
    lines += [
        # As in a container, the system's own file systems stay as they are.
        "cut -d' ' -f5 /proc/self/mountinfo | grep -vE '^/(proc|sys|dev)(/|$)' | sort -u | "
        'while read -r place; do mount -o remount,bind,ro "$(printf \'%b\' "$place")"; done',
        f"mount -t tmpfs -o mode=1777,size=512m,nosuid,nodev tmpfs {stage}/writable",
        f"cd {shlex.quote(str(ROOT))}",
        # The kernel forgets whom to die with when the user changes.
        f"exec setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "
        f"--pdeathsig KILL {shlex.join(worker)}",
    ]
    return "\n".join(lines)


def bake_cache(folder: Path) -> None:
    """Put the compiled kernels where the image has them: in a cache that the worker may read and not write."""
    features.warm_up()
    source = ROOT / "features" / "tempo.py"
    locate: Any = UserProvidedCacheLocator.get_suitable_cache_subpath
    target = folder / locate(str(source))
    target.mkdir(parents=True)
    for file in (source.parent / "__pycache__").glob("*.nb[ic]"):
        shutil.copy(file, target)


@pytest.mark.slow
def test_worker_without_root_on_a_read_only_root_answers(stage: Path) -> None:
    require_namespaces()
    for folder in ("writable", "audio", "log"):
        (stage / folder).mkdir()
    bake_cache(stage / "cache")
    track = write_track(stage / "audio" / "track.wav", 0, seconds=35.0)
    with embedded_broker(1) as bootstrap:
        worker = ConfinedWorker(bootstrap, stage / "log", audio_roots=stage / "audio")
        worker.environment |= {
            "TMPDIR": f"{stage}/writable",
            "NUMBA_CACHE_DIR": f"{stage}/cache",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/nonexistent",
        }
        worker.script = confinement(stage, [sys.executable, "-m", "consumer", "worker"])
        with worker:
            status = dict(fields for line in proc(worker, "status") if len(fields := line.split(":\t", 1)) == 2)
            assert status["Uid"].split() == [str(USER)] * 4
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
            assert status["NoNewPrivs"] == "1"
            mounts = [line.split()[4:6] for line in proc(worker, "mountinfo")]
            ours = [(place, options) for place, options in mounts if not place.startswith(("/proc", "/sys", "/dev"))]
            assert [place for place, options in ours if "rw" in options.split(",")] == [f"{stage}/writable"]

            # The kernels baked into the image are used as they are: none was compiled anew.
            seen = Path(f"/proc/{worker.pid}/root{stage}/writable/emotion-stream-{USER}")
            assert kernels(seen) == kernels(stage / "cache")

            producer = Producer({"bootstrap.servers": bootstrap})
            producer.produce(TRACK_EVENTS.name, track_event_json("e-1", "t-1", audio_uri=f"file://{track}"), "t-1")
            producer.flush()
            answer = first_answer(bootstrap, worker)
            assert (answer.source_event_id, answer.track_id) == ("e-1", "t-1")
            assert worker.terminate()[0] == 0
        assert "Traceback" not in worker.log.read_text()


def kernels(cache: Path) -> set[Path]:
    return {path.relative_to(cache) for path in cache.glob("*/*.nbc")}


def proc(worker: WorkerProcess, name: str) -> list[str]:
    return Path(f"/proc/{worker.pid}/{name}").read_text().splitlines()


def first_answer(bootstrap: str, worker: WorkerProcess) -> EmotionEvent:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    try:
        consumer.assign([TopicPartition(EMOTION_EVENTS.name, 0, OFFSET_BEGINNING)])
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                return msgspec.json.decode(message.value() or b"", type=EmotionEvent)
    finally:
        consumer.close()
    raise AssertionError(f"no answer within {ANSWER_SECONDS:.0f} s:\n{worker.tail()}")
