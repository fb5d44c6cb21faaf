"""What the model says of a track: plain values, no arrays, ready for an event or a row."""

from dataclasses import dataclass
from typing import Literal

from model.emotions import Emotion

Decision = Literal["apply", "suggest", "withhold"]
Use = Literal["playlist", "therapy", "catalogue"]


@dataclass(frozen=True, slots=True)
class FragmentJudgement:
    """The emotion of one 30-second fragment.

    Parameters
    ----------
    start_seconds : float
        Where the fragment begins in the track, >= 0.
    emotion : Emotion
        The most probable label.
    confidence : float
        Its calibrated probability, in [0, 1].
    """

    start_seconds: float
    emotion: Emotion
    confidence: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of a track, combined from its fragments.

    Parameters
    ----------
    emotion : Emotion
        The most probable label.
    confidence : float
        Its calibrated probability, in [0, 1].
    probabilities : dict of Emotion to float
        Four numbers in ``EMOTIONS`` order, summing to 1.
    prediction_set : tuple of Emotion
        Labels that cover the truth with the configured probability (conformal prediction), most probable first.
    valence, arousal : float
        Position in Russell's circumplex, in [-1, 1].
    decisions : dict
        ``apply``, ``suggest`` or ``withhold`` for each of ``playlist``, ``therapy`` and ``catalogue``.
    fragments : tuple of FragmentJudgement
        One per fragment, in order of time.
    out_of_domain : bool
        True when the input is far from all training data; every decision is then ``withhold``.
    """

    emotion: Emotion
    confidence: float
    probabilities: dict[Emotion, float]
    prediction_set: tuple[Emotion, ...]
    valence: float
    arousal: float
    decisions: dict[Use, Decision]
    fragments: tuple[FragmentJudgement, ...]
    out_of_domain: bool
