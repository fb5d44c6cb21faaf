"""What the pool's tests run in its processes; a module of its own, so that each process starts in no time."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consumer.errors import AudioNotFoundError

Call = Callable[[], Any]


def build() -> Callable[[Call], Any]:
    return lambda call: call()


def build_badly() -> Callable[[Call], Any]:
    raise ValueError("no model")


def not_found() -> None:
    raise AudioNotFoundError("nothing there")


def divide() -> float:
    return 1 / 0


class Treacherous:
    """Has whoever unpickles it write its process id."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return eval, (f"open({str(self.marker)!r}, 'w').write(str(__import__('os').getpid()))",)


def betray(marker: Path) -> Treacherous:
    return Treacherous(marker)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        die()
    return "second time"


def take_memory(size: int) -> int:
    return len(bytearray(size))


def sleep_forever() -> None:
    threading.Event().wait()


def announce_and_sleep(marker: Path) -> None:
    marker.write_text(str(os.getpid()))
    sleep_forever()
