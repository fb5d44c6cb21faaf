import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.emotions import EMOTIONS, Emotion
from model.judge import Judge, circumplex, rounded
from tests.model.stand_in import StandIn, fragment, manifest


@pytest.fixture
def judge() -> Judge:
    return Judge(StandIn(), manifest())


@given(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda numbers: sum(numbers) > 0.01))
def test_rounded_any_probabilities_sum_to_one(numbers: list[float]) -> None:
    probabilities = rounded(np.array(numbers) / sum(numbers))

    assert abs(sum(probabilities.values()) - 1.0) < 1e-9
    assert all(0.0 <= value <= 1.0 and value == round(value, 6) for value in probabilities.values())
    assert list(probabilities) == list(EMOTIONS)


@pytest.mark.parametrize(
    ("label", "place"),
    [("relax", (1.0, -1.0)), ("happy", (1.0, 1.0)), ("sad", (-1.0, -1.0)), ("angry", (-1.0, 1.0))],
)
def test_circumplex_a_certain_label_is_the_corner_of_its_quadrant(label: str, place: tuple[float, float]) -> None:
    assert circumplex({emotion: float(emotion == label) for emotion in EMOTIONS}) == place


def test_circumplex_no_preference_is_the_origin() -> None:
    assert str(circumplex(dict.fromkeys(EMOTIONS, 0.25))) == "(0.0, 0.0)"


def test_judge_one_fragment_says_what_the_classifier_says(judge: Judge) -> None:
    judgement = judge.judge(np.array([fragment(0.05, 0.1, 0.7, 0.15)]), [12.5])

    assert judgement.emotion is Emotion.SAD
    assert judgement.confidence == judgement.probabilities[Emotion.SAD] == 0.7
    assert judgement.prediction_set == (Emotion.SAD, Emotion.ANGRY, Emotion.HAPPY)
    assert [(f.start_seconds, f.emotion, f.confidence) for f in judgement.fragments] == [(12.5, Emotion.SAD, 0.7)]
    assert not judgement.out_of_domain


def test_judge_fragments_combine_as_the_classifier_says(judge: Judge) -> None:
    fragments = [fragment(0.8, 0.2, 0.0, 0.0), fragment(0.5, 0.0, 0.5, 0.0), fragment(0.05, 0.0, 0.95, 0.0)]

    judgement = judge.judge(np.array(fragments), [0.0, 30.0, 60.0])

    assert judgement.probabilities == dict(zip(EMOTIONS, (0.45, 0.066667, 0.483333, 0.0), strict=True))
    assert judgement.prediction_set == (Emotion.SAD, Emotion.RELAX)
    assert [f.emotion for f in judgement.fragments] == ["relax", "relax", "sad"]


def test_judge_one_unfamiliar_fragment_of_three_is_left_out(judge: Judge) -> None:
    music = fragment(0.0, 1.0, 0.0, 0.0)
    speech = fragment(0.0, 0.0, 0.0, 1.0, familiar=False)

    judgement = judge.judge(np.array([music, speech, music]), [0.0, 30.0, 60.0])

    assert judgement.confidence == 1.0
    assert judgement.emotion is Emotion.HAPPY
    assert len(judgement.fragments) == 3
    assert not judgement.out_of_domain


def test_judge_mostly_unfamiliar_withholds_every_decision(judge: Judge) -> None:
    speech = fragment(0.0, 0.0, 0.0, 1.0, familiar=False)

    judgement = judge.judge(np.array([speech, speech, fragment(0.0, 1.0, 0.0, 0.0)]), [0.0, 1.0, 2.0])

    assert judgement.out_of_domain
    assert set(judgement.decisions.values()) == {"withhold"}


def test_judge_certain_fragment_applies_for_every_use(judge: Judge) -> None:
    judgement = judge.judge(np.array([fragment(1.0, 0.0, 0.0, 0.0)]), [0.0])

    assert judgement.decisions == {"playlist": "apply", "therapy": "apply", "catalogue": "apply"}


@pytest.mark.parametrize(
    ("X", "starts"),
    [
        (np.zeros((0, 50)), []),
        (np.zeros((1, 49)), [0.0]),
        (np.zeros(50), [0.0]),
        (np.zeros((2, 50)), [0.0]),
        (np.full((1, 50), np.nan), [0.0]),
        (np.full((1, 50), np.inf), [0.0]),
    ],
)
def test_judge_bad_input_is_refused(judge: Judge, X: np.ndarray, starts: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        judge.judge(X, starts)
