"""What the tests ask of the operating system: children, memory, descriptors, ports and the end of processes (Linux)."""

import ctypes
import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

PR_SET_PDEATHSIG = 1
# Of the processors, by the host: a turn in which it takes more is the slower for that, whatever is measured.
DISTURBED_SHARE = 0.02
Turn = TypeVar("Turn")
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the test run dies; a ``preexec_fn`` for brokers and servers."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """Find a free TCP port on the loopback interface, below the range of outgoing connections.

    A broker that is restarted needs its port back; one from the ephemeral range may by then belong to a client.
    """
    while True:
        port = random.randrange(15000, 32000)
        if port_is_free(port):
            return port


def port_is_free(port: int) -> bool:
    """Tell whether a server could bind ``port`` on the loopback interface now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def descendants(pid: int) -> list[int]:
    """List the living processes below ``pid``, parents first."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


class Host:
    """A virtual machine's host, which gives the processors to others as well (steal); counts from when it is made."""

    def __init__(self) -> None:
        self._begun, self._took = time.monotonic(), self._stolen()

    def share(self) -> float:
        """Give what it took of the processors since, of all of them."""
        taken = (self._stolen() - self._took) / (os.cpu_count() or 1)
        return taken / max(time.monotonic() - self._begun, 1e-3)

    @staticmethod
    def _stolen() -> float:
        """Give what it ever took, in seconds of processor time."""
        return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK")


def undisturbed(turns: Iterable[Turn], taken: Callable[[Turn], float]) -> list[Turn]:
    """Give the turns in which the host left us the processors: at least half of them, whatever it took.

    Parameters
    ----------
    turns : iterable
        Of one kind.
    taken : callable
        Gives the share of the processors that the host took in a turn.

    Returns
    -------
    list
        Those with the least taken first.
    """
    ordered = sorted(turns, key=taken)
    quiet = sum(taken(turn) <= DISTURBED_SHARE for turn in ordered)
    return ordered[: max(quiet, len(ordered) // 2)]


def is_alive(pid: int) -> bool:
    """Tell whether ``pid`` runs; a zombie that its parent has not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def rss_bytes(pid: int) -> int:
    """Give the resident memory of one process in bytes, 0 once it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def cpu_seconds(pid: int) -> float:
    """Give the processor time of one process, user and system, in seconds; 0 once it is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def thread_seconds(pid: int, *names: str) -> float:
    """Give the processor time, in seconds, of the threads of one process whose names begin like one of ``names``."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            if (task / "comm").read_text().startswith(names):
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def threads(pid: int) -> int:
    """Count the threads of one process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def survivors(pids: Iterable[int], timeout_seconds: float) -> list[int]:
    """Wait until every process has ended and list those that have not in time."""
    deadline = time.monotonic() + timeout_seconds
    left = []
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(descriptor)
        if not ended and is_alive(pid):
            left.append(pid)
    return left
