"""What a model would cost and bring, in the units of the policy's cost matrix, before anybody hears it.

Every answer is out of fold. A decision is priced by what the truth turns out to be: applying gains or costs what the
matrix says, suggesting costs a person's look and gains only where the label was right, withholding does neither.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from model.emotions import EMOTIONS
from model.judge import rounded
from model.judgement import Use
from model.manifest import Score
from model.policy import USES, Policy
from model.trial import Trial, interval, resamples

PER_TRACKS: Final = 1000
Quantity = Literal["cost", "gain", "net"]
QUANTITIES: Final[tuple[Quantity, ...]] = ("cost", "gain", "net")


@dataclass(frozen=True, slots=True)
class Impact:
    """The expected economy of one use over ``PER_TRACKS`` tracks.

    Parameters
    ----------
    use : str
        ``playlist``, ``therapy`` or ``catalogue``.
    applied, suggested, withheld : float
        Shares of tracks, summing to 1.
    wrongly_applied : float
        Share of all tracks applied under a wrong label.
    champion, candidate, difference : dict
        ``cost``, ``gain`` and ``net`` with 95 % intervals; the difference is paired, candidate minus champion.
    """

    use: Use
    applied: float
    suggested: float
    withheld: float
    wrongly_applied: float
    candidate: dict[Quantity, Score]
    champion: dict[Quantity, Score] | None = None
    difference: dict[Quantity, Score] | None = None


def simulate(
    candidate: Trial,
    policy: Policy,
    champion: Trial | None,
    champion_policy: Policy | None,
    *,
    prices: Policy,
    seed: int,
) -> Iterator[Impact]:
    """Price the candidate's decisions, and the champion's on the same rows.

    Parameters
    ----------
    candidate, champion : Trial
        Out of fold, on the same rows; no champion, no difference.
    policy, champion_policy : Policy
        By which each decides.
    prices : Policy
        Whose costs, gains and prices of review count for both.
    seed : int
        Of the resamples.

    Yields
    ------
    Impact
        One for each use.
    """
    weights = resamples(candidate.groups, seed=seed)
    weights /= weights.sum(axis=1, keepdims=True)
    decided = decisions(candidate, policy)
    rival = decisions(champion, champion_policy or policy) if champion is not None else None
    for use in USES:
        ours = _price(candidate, decided[use], prices, use)
        right = candidate.proba.argmax(axis=1) == candidate.truth
        shares = {d: float((decided[use] == d).mean()) for d in ("apply", "suggest", "withhold")}
        wrong = float(((decided[use] == "apply") & ~right).mean())
        impact = Impact(use, shares["apply"], shares["suggest"], shares["withhold"], wrong, _expected(ours, weights))
        if champion is not None and rival is not None:
            theirs = _price(champion, rival[use], prices, use)
            gap = {quantity: ours[quantity] - theirs[quantity] for quantity in QUANTITIES}
            impact = Impact(
                use,
                shares["apply"],
                shares["suggest"],
                shares["withhold"],
                wrong,
                _expected(ours, weights),
                _expected(theirs, weights),
                _expected(gap, weights),
            )
        yield impact


def decisions(trial: Trial, policy: Policy) -> dict[Use, NDArray[np.str_]]:
    """Decide about every row of a trial as a worker would."""
    made: dict[Use, list[str]] = {use: [] for use in USES}
    for proba, plausible, familiar in zip(trial.proba, trial.sets, trial.familiar, strict=True):
        numbers = rounded(proba)
        best = max(EMOTIONS, key=lambda label: numbers[label])
        prediction_set = [label for label, holds in zip(EMOTIONS, plausible, strict=True) if holds or label is best]
        for use, decision in policy.decide(numbers, prediction_set, out_of_domain=not familiar).items():
            made[use].append(decision)
    return {use: np.array(column) for use, column in made.items()}


def _price(trial: Trial, decided: NDArray[np.str_], prices: Policy, use: Use) -> dict[Quantity, NDArray[np.float64]]:
    economy = prices.uses[use]
    matrix = np.array([[economy.costs[said].get(truth, 0.0) for truth in EMOTIONS] for said in EMOTIONS])
    said = trial.proba.argmax(axis=1)
    right = said == trial.truth
    applied, suggested = decided == "apply", decided == "suggest"
    cost = np.where(applied, matrix[said, trial.truth], 0.0) + np.where(suggested, economy.review, 0.0)
    gain = np.where((applied | suggested) & right, economy.gain, 0.0)
    return {"cost": cost, "gain": gain, "net": gain - cost}


def _expected(priced: dict[Quantity, NDArray[np.float64]], weights: NDArray[np.float64]) -> dict[Quantity, Score]:
    expected = {}
    for quantity, values in priced.items():
        low, high = interval(PER_TRACKS * (weights @ values))
        value = PER_TRACKS * float(values.mean())
        expected[quantity] = Score(value=round(value, 1), low=round(low, 1), high=round(high, 1))
    return expected
