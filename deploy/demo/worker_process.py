"""The real worker, as a process of its own, configured by its environment alone."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_STOP_SECONDS: Final = 15.0
_LOG_LINES: Final = 15
_TELL_SECONDS: Final = 10.0


class WorkerError(RuntimeError):
    """The worker ended, or never became ready; the message holds the end of its log."""


class WorkerProcess:
    """Start ``emotion-stream worker``, wait for it, end it.

    Parameters
    ----------
    command : sequence of str
        What to start.
    environment : Mapping of str to str
        The whole environment, the worker's ``EMOTION_*`` settings among it.
    port : int
        Where it serves ``/metrics``, ``/live`` and ``/ready``.
    log : Path
        File for what it prints.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        # A session of its own: Ctrl-C reaches the demo only, which then ends the worker in order.
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own command line, no shell
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise :class:`WorkerError` if the worker has ended."""
        status = self._process.poll()
        if status is not None:
            raise WorkerError(f"the worker ended with status {status}; the end of {self._log}:\n{self._tail()}")

    def wait_until_ready(self, timeout_seconds: float, on_wait: Callable[[str], None]) -> float:
        """Wait for ``/ready``.

        Parameters
        ----------
        timeout_seconds : float
            Give up after this.
        on_wait : callable
            Called now and then with what the worker still waits for.

        Returns
        -------
        float
            Seconds waited.

        Raises
        ------
        WorkerError
            If the worker ends or is not ready in time.
        """
        start = told = time.monotonic()
        while True:
            missing = self._missing()
            now = time.monotonic()
            if missing is None:
                return now - start
            self.check()
            if now - start > timeout_seconds:
                raise WorkerError(
                    f"the worker was not ready after {timeout_seconds:.0f} s, it waits for {missing}; "
                    f"the end of {self._log}:\n{self._tail()}"
                )
            if now - told > _TELL_SECONDS:
                told = now
                on_wait(missing)
            time.sleep(0.25)

    def stop(self) -> int:
        """End the worker in order, by force if it takes too long, and whatever it left behind.

        Returns
        -------
        int
            Its exit status; negative for the signal that ended it.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        # Its group: a child that outlived it would hold its port.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def _missing(self) -> str | None:
        """Say what the worker is not ready for; None if it is ready."""
        try:
            with urllib.request.urlopen(self.url + "/ready", timeout=2):  # noqa: S310  # our own http:// address
                return None
        except urllib.error.HTTPError as error:
            with error:
                return ", ".join(json.load(error).get("missing", [])).replace("_", " ") or error.reason
        except (OSError, json.JSONDecodeError):
            return "its first sign of life"

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def free_port(preferred: int) -> int:
    """Give the preferred port on the loopback, or any free one if it is taken."""
    for port in (preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
