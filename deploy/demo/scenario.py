"""The story the demo tells: uploads, two listeners, a track nobody had uploaded, a broken file, a malformed event."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deploy.demo.ledger import Ledger
from deploy.demo.playlist.service import PlaylistService
from deploy.demo.streaming_platform import Listener, StreamingPlatform
from deploy.demo.tracks import Track

# Slow enough to be read; a longer run is played faster, so that it still lasts about this long.
_PLAY_INTERVAL_SECONDS: Final = 0.3
_PLAYING_SECONDS: Final = 10.0
# Without any outcome for so long there will be none: the service's deadline is 60 s.
STALL_SECONDS: Final = 75.0
_CATCH_UP_SECONDS: Final = 5.0
# The listener who skips does so at every third of their plays.
_SKIP_EVERY: Final = 3


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who and what plays.

    Parameters
    ----------
    uploads : list of Track
        The catalogue, uploaded first.
    unheard : Track or None
        Played without ever having been uploaded.
    broken : Track
        Uploaded in the middle; its audio breaks off.
    listeners : tuple of Listener
        They play in turn.
    play_count : int
        Plays in all, >= 1.
    """

    uploads: list[Track]
    unheard: Track | None
    broken: Track
    listeners: tuple[Listener, ...]
    play_count: int

    @property
    def titles(self) -> dict[str, str]:
        """Titles by track id."""
        tracks = [*self.uploads, self.broken, *([self.unheard] if self.unheard else [])]
        return {track.track_id: track.title for track in tracks}

    def perform(
        self, platform: StreamingPlatform, service: PlaylistService, ledger: Ledger, on_act: Callable[[str], None]
    ) -> None:
        """Play it, and wait until nothing more is to be expected.

        Parameters
        ----------
        platform : StreamingPlatform
            Produces the events.
        service : PlaylistService
            Keeps the queues the listeners play from.
        ledger : Ledger
            Knows when every event has its outcome.
        on_act : callable
            Called with a line that announces each act.
        """
        on_act(f"{len(self.uploads)} tracks are uploaded: each is heard once, by the new lane")
        for track in self.uploads:
            platform.upload(track)
        platform.flush()
        if not ledger.wait(STALL_SECONDS):
            return
        self._let_catch_up(service, ledger)
        wishes = ", ".join(f"{listener.name} wants {listener.target}" for listener in self.listeners)
        on_act(f"{wishes}: they play what the playlist service puts first")
        for listener in self.listeners:
            self._hand_out(service, listener)
        self._play(platform, service)
        platform.flush()
        ledger.wait(STALL_SECONDS)

    def _play(self, platform: StreamingPlatform, service: PlaylistService) -> None:
        interval = min(_PLAY_INTERVAL_SECONDS, _PLAYING_SECONDS / self.play_count)
        tracks = {track.track_id: track for track in self.uploads}
        last: dict[str, str] = {}
        due = time.monotonic()
        for number in range(self.play_count):
            listener = self.listeners[number % len(self.listeners)]
            if number == self.play_count // 4:
                platform.upload(self.broken, "broken")
            if number == self.play_count // 3:
                platform.malformed(self.uploads[0])
            if self.unheard is not None and number in {self.play_count // 2, self.play_count * 3 // 4}:
                # The first time it is new; a little later it is known.
                platform.play(self.unheard, listener)
            else:
                queue = service.queue(listener.session_id) or self._hand_out(service, listener)
                skips = listener.skips and number // len(self.listeners) % _SKIP_EVERY == _SKIP_EVERY - 1
                # In a fast run the queue has not moved on yet: then the next one, never the same twice running.
                choice = int(skips) + int(queue[int(skips) % len(queue)] == last.get(listener.name))
                last[listener.name] = queue[choice % len(queue)]
                platform.play(tracks[last[listener.name]], listener)
            due += interval
            time.sleep(max(0.0, due - time.monotonic()))

    def _let_catch_up(self, service: PlaylistService, ledger: Ledger) -> None:
        """Wait until the playlist service, which reads at its own pace, knows the catalogue too."""
        emotions = sum(outcome.emotion is not None for outcome in ledger.outcomes.values())
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while service.heard_count < emotions and time.monotonic() < deadline:
            time.sleep(0.05)

    def _hand_out(self, service: PlaylistService, listener: Listener) -> tuple[str, ...]:
        # Everybody's queue is their own: one begins in the middle of the catalogue, the next at its end.
        order = [track.track_id for track in self.uploads]
        half = len(order) // 2
        order = order[::-1] if self.listeners.index(listener) % 2 else order[half:] + order[:half]
        service.start_session(listener.session_id, listener.target, order)
        return service.queue(listener.session_id)
