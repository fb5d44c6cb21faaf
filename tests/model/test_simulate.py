import numpy as np
import pytest

from model.policy import read_policy
from model.simulate import Impact, decisions, simulate
from model.trial import Trial

N = 400
# Truth and answer by index in EMOTIONS: relax, happy, sad, angry.
RELAX, ANGRY = 0, 3


def trial(truth: int, said: int, confidence: float = 1.0, *, familiar: bool = True) -> Trial:
    proba = np.full((N, 4), (1.0 - confidence) / 3.0)
    proba[:, said] = confidence
    return Trial(np.full(N, truth), np.arange(N), proba, proba > 0.1, np.full(N, familiar))


def impacts(candidate: Trial, champion: Trial | None = None) -> dict[str, Impact]:
    policy = read_policy()
    return {impact.use: impact for impact in simulate(candidate, policy, champion, policy, prices=policy, seed=0)}


def test_simulate_always_right_and_sure_gains_a_thousand_at_no_cost() -> None:
    for impact in impacts(trial(RELAX, RELAX)).values():
        assert impact.applied == 1.0
        assert (impact.candidate["cost"].value, impact.candidate["gain"].value) == (0.0, 1000.0)
        assert impact.candidate["net"].low == impact.candidate["net"].high == 1000.0


def test_simulate_relax_said_of_angry_costs_what_the_matrix_says() -> None:
    by_use = impacts(trial(ANGRY, RELAX))

    for use, economy in read_policy().uses.items():
        assert by_use[use].candidate["cost"].value == 1000.0 * economy.costs["relax"]["angry"]  # type: ignore[index]
        assert by_use[use].candidate["gain"].value == 0.0
        assert by_use[use].wrongly_applied == 1.0


def test_simulate_out_of_domain_neither_costs_nor_gains() -> None:
    for impact in impacts(trial(ANGRY, RELAX, familiar=False)).values():
        assert impact.withheld == 1.0
        assert impact.candidate["net"].value == 0.0


def test_simulate_suggestion_costs_a_look_and_gains_where_right() -> None:
    right, wrong = impacts(trial(RELAX, RELAX, 0.7))["therapy"], impacts(trial(ANGRY, RELAX, 0.7))["therapy"]
    review = read_policy().uses["therapy"].review

    assert right.suggested == wrong.suggested == 1.0
    assert right.candidate["net"].value == pytest.approx(1000.0 * (1.0 - review))
    assert wrong.candidate["net"].value == pytest.approx(-1000.0 * review)


def test_simulate_difference_is_paired() -> None:
    impact = impacts(trial(RELAX, RELAX), trial(RELAX, RELAX, 0.7))["therapy"]

    assert impact.difference is not None
    assert impact.difference["net"].value == pytest.approx(200.0)
    assert impact.difference["net"].low == impact.difference["net"].high


def test_decisions_are_those_of_the_policy_row_by_row() -> None:
    mixed = trial(RELAX, RELAX)
    mixed.proba[: N // 2] = 0.25

    decided = decisions(mixed, read_policy())["playlist"]

    assert set(decided[: N // 2]) == {"suggest"}
    assert set(decided[N // 2 :]) == {"apply"}
