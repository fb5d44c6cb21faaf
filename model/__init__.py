"""The judgement: feature vectors in, an emotion with a confidence one can trust out.

This room holds data, training, evaluation, the artifact and the policy. It may import ``features``, scikit-learn and
joblib; it knows no Kafka, no HTTP and no metrics.
"""

from model.emotions import EMOTIONS, Emotion
from model.judgement import Decision, FragmentJudgement, Judgement

__all__ = ["EMOTIONS", "Decision", "Emotion", "FragmentJudgement", "Judgement"]
