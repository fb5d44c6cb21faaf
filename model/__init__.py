"""The judgement: feature vectors in, an emotion with a confidence one can trust out.

This room holds data, training, evaluation, the artifact and the policy. It may import ``features``, scikit-learn and
joblib; it knows no Kafka, no HTTP and no metrics.
"""

from typing import TYPE_CHECKING

from model.emotions import EMOTIONS, Emotion
from model.judgement import Decision, FragmentJudgement, Judgement

if TYPE_CHECKING:
    from model.artifact import load_artifact
    from model.judge import Judge

__all__ = ["EMOTIONS", "Decision", "Emotion", "FragmentJudgement", "Judge", "Judgement", "load_artifact"]


def __getattr__(name: str) -> object:
    # Joblib and NumPy cost half a second: whoever wants only the labels does not pay for them.
    if name == "load_artifact":
        from model.artifact import load_artifact

        return load_artifact
    if name == "Judge":
        from model.judge import Judge

        return Judge
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
