"""What a person sees: one line per event, in the order of the answers, and one screen at the end.

Lines are appended and never redrawn, so that the same text reads well in a terminal, in a log and through a pipe;
the summary repeats what matters, so that nothing is lost when lines leave the screen.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from consumer.events import DecisionLabel, EmotionLabel
from deploy.demo.ledger import Kind, Lane, Ledger, Outcome, quantile
from deploy.demo.playlist.sessions import Change

_COLOURS: Final[dict[EmotionLabel, str]] = {
    "relax": "green",
    "happy": "yellow",
    "sad": "bright_blue",
    "angry": "red",
}
_DECISION_COLOURS: Final[dict[DecisionLabel, str]] = {"apply": "bold", "suggest": "", "withhold": "dim"}
_WIDTH: Final = 100
_TITLE_WIDTH: Final = 20
_UP_NEXT: Final = 3
# After so many lines of one kind only a count is shown, once a second.
_LINES_OF_A_KIND: Final = 60


class View:
    """Writes the demo's lines.

    Parameters
    ----------
    console : Console
        Where to.
    titles : Mapping of str to str
        Track titles by id.
    listeners : Mapping of str to str
        Names by session id.
    """

    def __init__(self, console: Console, titles: Mapping[str, str], listeners: Mapping[str, str]) -> None:
        self._console, self._titles, self._listeners = console, titles, listeners
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._shown: Counter[tuple[Lane, Kind]] = Counter()
        self._counted_at = 0.0
        self._answered = 0
        # Changes whose event's own line is not written yet: the cause is shown before its effect.
        self._waiting: dict[str, list[Change]] = {}
        self._told: set[str] = set()

    def act(self, text: str) -> None:
        """Announce what happens next."""
        self._line(Text(f"\n{text}", style="bold"))

    def note(self, text: str) -> None:
        """Write a line of less weight."""
        self._line(Text(text, style="dim"))

    def header(self) -> None:
        """Write the names of the columns; the seconds count from here."""
        self._start = time.monotonic()
        row = self._row("seconds", "event", "track", "emotion", "conf.", "lane", "latency", "playlist")
        row.stylize("dim")
        self._line(row)

    def outcome(self, outcome: Outcome) -> None:
        """Write what came of an event, and the changes it caused."""
        with self._lock:
            self._answered += 1
            kind = outcome.lane, outcome.sent.kind
            self._shown[kind] += 1
            self._told.add(outcome.sent.event_id)
            changes = self._waiting.pop(outcome.sent.event_id, [])
            if self._shown[kind] > _LINES_OF_A_KIND:
                if time.monotonic() - self._counted_at >= 1:
                    self._counted_at = time.monotonic()
                    self._write(Text(f"{self._seconds()}  ... {self._answered:,} events answered", style="dim"))
                return
            self._write(self._outcome_row(outcome))
            for change in changes:
                self._write(self._change_row(change))

    def change(self, change: Change) -> None:
        """Write a reordered queue, at once or when its cause is written."""
        with self._lock:
            is_visible = change.before[:_UP_NEXT] != change.after[:_UP_NEXT] or change.suggestion is not None
            if self._shown["known", "play"] > _LINES_OF_A_KIND or not is_visible:
                return
            if change.cause is None or change.cause in self._told:
                self._write(self._change_row(change))
            else:
                self._waiting.setdefault(change.cause, []).append(change)

    def summary(self, ledger: Ledger, feedback: Mapping[str, int], queues: Mapping[str, tuple[str, ...]]) -> None:
        """Write the last screen: outcomes, latencies, dead letters, the catalogue by emotion, the queues."""
        with self._lock:
            self._write(Text(f"\n{'─' * _WIDTH}", style="dim"))
            self._write(_verdict(ledger))
            self._write(Text())
            self._write(Text(f"{'lane':<8}{'events':>8}{'median':>12}{'95 %':>12}{'slowest':>12}", style="dim"))
            for lane in ("known", "new"):
                seconds = ledger.latencies(lane)
                row = f"{lane:<8}{len(seconds):>8,}"
                if seconds:
                    row += "".join(f"{_duration(quantile(seconds, share)):>12}" for share in (0.5, 0.95, 1.0))
                self._write(Text(row))
            self._dead_letters(ledger)
            self._catalogue(ledger)
            self._write(Text())
            for session_id, queue in queues.items():
                titles = " · ".join(self._title(track) for track in queue) or "played to its end"
                self._write(Text(f"{self._listeners[session_id]}'s queue now: {titles}"))
            sent = ", ".join(f"{count} {kind}" for kind, count in sorted(feedback.items())) or "none"
            self._write(Text(f"Feedback sent to emotion-feedback: {sent}"))

    def _dead_letters(self, ledger: Ledger) -> None:
        letters = [outcome for outcome in ledger.outcomes.values() if outcome.lane == "dead letter"]
        if letters:
            self._write(Text())
        for letter in letters[:8]:
            row = Text()
            row.append(f"dead letter  {letter.reason:<15}", style="magenta")
            self._write(row.append(f"{letter.sent.title}: {letter.message}"))
        if len(letters) > 8:
            reasons = Counter(letter.reason for letter in letters)
            counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            self._write(Text(f"             ... {len(letters):,} in all: {counts}"))

    def _catalogue(self, ledger: Ledger) -> None:
        by_emotion: dict[EmotionLabel, dict[str, float]] = {emotion: {} for emotion in _COLOURS}
        for outcome in ledger.outcomes.values():
            if outcome.emotion is not None:
                by_emotion[outcome.emotion.emotion][outcome.sent.title] = outcome.emotion.confidence
        self._write(Text())
        for emotion, tracks in by_emotion.items():
            row = Text()
            row.append(f"{emotion:<8}", style=f"bold {_COLOURS[emotion]}")
            row.append(f"{len(tracks):>3} {'track ' if len(tracks) == 1 else 'tracks'}  ")
            best = sorted(tracks.items(), key=lambda item: -item[1])
            self._write(row.append(" · ".join(f"{title} {confidence:.2f}" for title, confidence in best[:12])))

    def _outcome_row(self, outcome: Outcome) -> Text:
        sent, emotion = outcome.sent, outcome.emotion
        what = f"play    {sent.listener}" if sent.kind == "play" else "play" if sent.kind == "malformed" else "upload"
        latency = _duration(outcome.latency_seconds)
        if emotion is None:
            row = self._row(self._seconds(), what, sent.title, "", "", "dead letter", latency, outcome.reason)
            row.stylize("magenta")
            return row
        lane = outcome.lane + (" late" if emotion.late else "")
        decision = emotion.decisions.playlist
        row = self._row(
            self._seconds(), what, sent.title, emotion.emotion, f"{emotion.confidence:.2f}", lane, latency, decision
        )
        row.highlight_words([emotion.emotion], f"bold {_COLOURS[emotion.emotion]}")
        row.highlight_words([decision], _DECISION_COLOURS[decision])
        if outcome.lane == "new":
            row.highlight_words([" new "], "cyan")
        return row

    def _change_row(self, change: Change) -> Text:
        before = [track for track in change.before if track in change.after]
        listener = self._listeners.get(change.session_id, change.session_id)
        row = Text(f"{'':>7}  ")
        row.append(f"{'queue   ' + listener:<13}  ", style="italic dim")
        for place, track in enumerate(change.after[:_UP_NEXT]):
            moved = before.index(track) - place
            mark = f"↑{moved} " if moved > 0 else f"↓{-moved} " if moved < 0 else ""
            row.append(" · " if place else "", style="dim")
            row.append(mark, style="green" if moved > 0 else "dim")
            row.append(self._title(track), style="default" if moved > 0 else "dim")
        if change.suggestion is not None:
            row.append(f" · maybe {self._title(change.suggestion)}?", style="italic cyan")
        return row

    def _row(
        self, seconds: str, event: str, title: str, emotion: str, confidence: str, lane: str, latency: str, end: str
    ) -> Text:
        title = set_cell_size(title, _TITLE_WIDTH)
        return Text(f"{seconds:>7}  {event:<13}  {title}  {emotion:<8}{confidence:>5}   {lane:<11}{latency:>9}   {end}")

    def _title(self, track_id: str) -> str:
        return self._titles.get(track_id, track_id)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._start:7.2f}"

    def _line(self, text: Text) -> None:
        with self._lock:
            self._write(text)

    def _write(self, text: Text) -> None:
        self._console.print(text, no_wrap=True, overflow="ellipsis", highlight=False)


def _verdict(ledger: Ledger) -> Text:
    missing = ledger.missing()
    letters = sum(outcome.lane == "dead letter" for outcome in ledger.outcomes.values())
    late = sum(outcome.emotion is not None and outcome.emotion.late for outcome in ledger.outcomes.values())
    if ledger.is_complete:
        text = Text()
        text.append(f"✓ {ledger.sent_count:,} events, each with exactly one outcome: ", style="bold green")
    else:
        text = Text()
        text.append(
            f"✗ {ledger.sent_count:,} events, {len(missing):,} without an outcome, "
            f"{len(ledger.contradictions):,} with more than one: ",
            style="bold red",
        )
    text.append(f"{len(ledger.outcomes) - letters:,} emotions, {letters:,} dead letters")
    text.append(f" ({ledger.repeated:,} delivered again, {late:,} late)", style="dim")
    for sent in missing[:10]:
        text.append(f"\n  no outcome: {sent.kind} of {sent.title} ({sent.event_id})", style="red")
    for outcome in ledger.contradictions[:10]:
        text.append(f"\n  a second outcome: {outcome.sent.kind} of {outcome.sent.title} ({outcome.lane})", style="red")
    return text


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.2f} s"
