"""What feedback says, as metrics: how much is accepted, and how right the model was by the word of people who know.

Bounded: the last 5,000 acts of listeners, the newest 1,000 corrections, the ids of the last 50,000 events. Kept durably
in Kafka: acts in ``emotion-feedback``, the last of which are read again at a start, corrections in the tracks' records.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from consumer.corrections import Correction
from consumer.events import DecisionLabel, EmotionLabel, FeedbackKind
from consumer.metrics import Metrics
from model.emotions import EMOTIONS, Emotion
from model.online import score_corrections

_ACTS: Final = 5_000
# A ratio of fewer says nothing.
_MIN_ACTS: Final = 20
_REMEMBERED_IDS: Final = 50_000
# Enough for an interval of three points, few enough to be of this season.
_SCORED: Final = 1_000
_WELCOME: Final = frozenset({"accepted", "completed", "liked"})


class Act(NamedTuple):
    """What somebody did with an emotion.

    Parameters
    ----------
    emotion : str
        The emotion on the track's record.
    decision : str
        What the playlist was told to do with it.
    kind : str
        The feedback.
    """

    emotion: EmotionLabel
    decision: DecisionLabel
    kind: FeedbackKind


class FeedbackWindow:
    """The last acts, and the events seen; used by one thread."""

    def __init__(self) -> None:
        self._acts: deque[tuple[EmotionLabel, DecisionLabel, bool]] = deque()
        self._counts: Counter[tuple[EmotionLabel, DecisionLabel, bool]] = Counter()
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_new(self, event_id: str) -> bool:
        """Ask once whether an event was seen before, and remember it.

        Parameters
        ----------
        event_id : str
            The feedback event's.

        Returns
        -------
        bool
            True for the first time among the last 50,000.
        """
        if event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > _REMEMBERED_IDS:
            self._ids.popitem(last=False)
        return True

    def add(self, act: Act) -> None:
        """Take in an act; a label is not one of acceptance.

        Parameters
        ----------
        act : Act
            What was done.
        """
        if act.kind == "label":
            return
        entry = (act.emotion, act.decision, act.kind in _WELCOME)
        self._acts.append(entry)
        self._counts[entry] += 1
        if len(self._acts) > _ACTS:
            self._counts[self._acts.popleft()] -= 1

    def acceptance(self) -> dict[tuple[EmotionLabel, DecisionLabel], float]:
        """Give the share that was accepted, completed or liked.

        Returns
        -------
        dict of (emotion, decision) to float
            In [0, 1]; without those of fewer than 20 acts.
        """
        ratios = {}
        for emotion, decision in {(emotion, decision) for emotion, decision, _ in self._counts}:
            welcome, skipped = (self._counts[emotion, decision, accepted] for accepted in (True, False))
            if welcome + skipped >= _MIN_ACTS:
                ratios[emotion, decision] = welcome / (welcome + skipped)
        return ratios

    def show(self, metrics: Metrics) -> None:
        """Bring the acceptance up to date.

        Parameters
        ----------
        metrics : Metrics
            Where it is shown.
        """
        metrics.acceptance.clear()
        for (emotion, decision), ratio in self.acceptance().items():
            metrics.acceptance.labels(emotion, decision).set(ratio)


def show_scores(corrections: Iterable[Correction], metrics: Metrics) -> None:
    """Bring online accuracy and F1 up to date.

    Parameters
    ----------
    corrections : iterable of Correction
        All that this worker knows; the newest 1,000 count.
    metrics : Metrics
        Where they are shown.
    """
    newest = sorted((said for said in corrections if said.model_emotion is not None), key=lambda said: said.at)
    pairs = [(Emotion(str(said.model_emotion)), Emotion(said.emotion)) for said in newest[-_SCORED:]]
    scores = score_corrections(pairs)
    metrics.online_labels.set(scores.labels)
    for row, label in enumerate(EMOTIONS):
        for column, emotion in enumerate(EMOTIONS):
            metrics.online_confusion.labels(emotion, label).set(scores.confusion[row, column])
    metrics.online_f1.clear()
    for emotion, value in scores.f1.items():
        metrics.online_f1.labels(emotion).set(value)
    for score, gauge, bounds in (
        (scores.accuracy, metrics.online_accuracy, metrics.online_accuracy_bound),
        (scores.macro_f1, metrics.online_macro_f1, metrics.online_macro_f1_bound),
    ):
        gauge.set(score.value)
        bounds.labels("low").set(score.low)
        bounds.labels("high").set(score.high)
