"""A TCP proxy between worker and broker whose line can be cut, frozen or slowed."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Proxy:
    """Forward a loopback port to another, in a thread of its own.

    The broker advertises the proxy's port, so that clients come back through it whatever they were told to
    bootstrap from.

    Parameters
    ----------
    port : int
        The port clients connect to.
    target_port : int
        The broker's own port.

    Attributes
    ----------
    delay_seconds : float
        Added to every chunk in each direction while > 0.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self.delay_seconds = 0.0
        self._target_port = target_port
        self._cut = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._lines: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", port))

    def cut(self) -> None:
        """Reset every connection and refuse new ones, as a pulled plug with a talkative switch does."""
        self._cut = True
        self._run(self._drop_lines())

    def freeze(self) -> None:
        """Swallow nothing and pass nothing: connections stay open and silent, as behind a dead switch."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def restore(self) -> None:
        """Let traffic through again, with no delay."""
        self._cut, self.delay_seconds = False, 0.0
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """End the proxy and its thread."""
        if not self._thread.is_alive():
            return
        self._cut = True
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _shut(self) -> None:
        self._server.close()
        await self._drop_lines()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drop_lines(self) -> None:
        for line in list(self._lines):
            line.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._lines |= {writer, far_writer}
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for line in (writer, far_writer):
                line.transport.abort()
                self._lines.discard(line)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65536):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._flowing.wait()
                sink.write(chunk)
                await sink.drain()
        # One side hung up: the other must notice too.
        sink.transport.abort()
