from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.emotions import EMOTIONS, Emotion
from model.judgement import Use
from model.policy import POLICY_FILE, USES, Policy, read_policy

BOLDNESS = ("withhold", "suggest", "apply")
weights = st.tuples(*[st.floats(0.001, 1.0)] * 4)
label_sets = st.sets(st.sampled_from(EMOTIONS))


@pytest.fixture(scope="module")
def policy() -> Policy:
    return read_policy()


def probabilities(relax: float, happy: float, sad: float, angry: float) -> dict[Emotion, float]:
    return dict(zip(EMOTIONS, (relax, happy, sad, angry), strict=True))


def test_explain_certain_relax_applies_for_every_use(policy: Policy) -> None:
    sure = probabilities(0.985, 0.005, 0.005, 0.005)

    assert policy.decide(sure, (Emotion.RELAX,)) == dict.fromkeys(USES, "apply")


@given(weights=weights, others=label_sets)
def test_explain_therapy_with_angry_plausible_never_applies_relax(
    weights: tuple[float, float, float, float], others: set[Emotion]
) -> None:
    total = 1.0 + sum(weights[1:]) / 1000
    relaxed = probabilities(1.0 / total, *(weight / 1000 / total for weight in weights[1:]))

    verdict = read_policy().explain("therapy", relaxed, (Emotion.RELAX, Emotion.ANGRY, *others))

    assert verdict.decision != "apply"


def test_explain_several_plausible_labels_catalogue_suggests_with_the_reason(policy: Policy) -> None:
    verdict = policy.explain("catalogue", probabilities(0.9, 0.02, 0.06, 0.02), (Emotion.RELAX, Emotion.SAD))

    assert verdict.decision == "suggest"
    assert "a person should check" in verdict.reason


@given(weights=weights, plausible=label_sets)
def test_explain_out_of_domain_withholds_everything(
    weights: tuple[float, float, float, float], plausible: set[Emotion]
) -> None:
    numbers = probabilities(*(weight / sum(weights) for weight in weights))

    decisions = read_policy().decide(numbers, tuple(plausible), out_of_domain=True)

    assert set(decisions.values()) == {"withhold"}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("said", EMOTIONS)
@pytest.mark.parametrize("rival", EMOTIONS)
def test_threshold_is_where_explain_changes_its_mind(policy: Policy, use: Use, said: Emotion, rival: Emotion) -> None:
    if rival is said:
        return
    threshold = policy.uses[use].threshold(said, rival)

    def decision(confidence: float) -> str:
        numbers = dict.fromkeys(EMOTIONS, 0.0) | {said: confidence, rival: 1.0 - confidence}
        return policy.explain(use, numbers, (said,)).decision

    assert decision(max(threshold, 0.5) + 1e-6) == "apply"
    if threshold > 0.5:
        assert decision(threshold - 1e-6) != "apply"


def test_threshold_relax_against_angry_is_strictest_in_therapy(policy: Policy) -> None:
    thresholds = {
        (said, rival): policy.uses["therapy"].threshold(said, rival)
        for said in EMOTIONS
        for rival in EMOTIONS
        if said is not rival
    }

    assert max(thresholds, key=lambda pair: thresholds[pair]) == (Emotion.RELAX, Emotion.ANGRY)


@given(weights=weights, plausible=label_sets)
def test_explain_rules_only_lower_a_decision(
    weights: tuple[float, float, float, float], plausible: set[Emotion]
) -> None:
    policy = read_policy()
    numbers = probabilities(*(weight / sum(weights) for weight in weights))
    bare = Policy(coverage=policy.coverage, uses=policy.uses)

    for use in USES:
        ruled, free = (p.explain(use, numbers, tuple(plausible)).decision for p in (policy, bare))
        assert BOLDNESS.index(ruled) <= BOLDNESS.index(free)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("angry = 10.0", "angry = -1.0", ">= 0"),
        ("happy = 1.0, sad = 2.0, angry = 10.0", "happy = 1.0, sad = 2.0", "angry"),
        ("[uses.therapy]", "[uses.radio]", "radio"),
        ("coverage = 0.90", "coverage = 1.5", "coverage"),
        ("review = 0.25", "reviews = 0.25", "reviews"),
    ],
)
def test_read_policy_bad_file_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = POLICY_FILE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "policy.toml").write_text(text.replace(old, new), encoding="utf-8")

    with pytest.raises(ValueError, match=message):
        read_policy(tmp_path / "policy.toml")
