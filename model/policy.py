"""From probabilities to a decision per use: the action of greatest expected gain under stated costs.

The costs are in ``policy.toml``, with their reasons; a copy travels inside every artifact. With calibrated
probabilities the minimum-expected-cost action is the optimal one (Elkan 2001, The foundations of cost-sensitive
learning, IJCAI), so no threshold is tuned: each follows from the costs.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, get_args

import msgspec
from msgspec import Meta, Struct

from model.emotions import EMOTIONS, Emotion
from model.judgement import Decision, Use

POLICY_FILE: Final = Path(__file__).with_name("policy.toml")
USES: Final[tuple[Use, ...]] = get_args(Use)
_BOLDNESS: Final[tuple[Decision, ...]] = ("withhold", "suggest", "apply")

Cost = Annotated[float, Meta(ge=0.0)]


class UsePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The economy of one use, in units of one rightly labelled track.

    Parameters
    ----------
    reason : str
        Why the numbers are what they are.
    gain : float
        What a right label is worth, > 0.
    review : float
        What a person's look costs, >= 0; a person is assumed to catch a wrong label.
    costs : dict of Emotion to dict of Emotion to float
        ``costs[said][truth]``: what a wrong label costs, >= 0.
    """

    reason: str
    gain: Annotated[float, Meta(gt=0.0)]
    review: Cost
    costs: dict[Emotion, dict[Emotion, Cost]]

    def __post_init__(self) -> None:
        for said in EMOTIONS:
            expected = set(EMOTIONS) - {said}
            if set(self.costs.get(said, {})) != expected:
                raise ValueError(f"costs.{said}: expected one cost for each of {', '.join(sorted(expected))}")

    def harm(self, said: Emotion, probabilities: Mapping[Emotion, float]) -> float:
        """Give the expected cost of applying ``said``."""
        return sum(probabilities[truth] * cost for truth, cost in self.costs[said].items())

    def threshold(self, said: Emotion, rival: Emotion) -> float:
        """Give the confidence from which ``said`` is applied when all doubt is about ``rival``.

        With cost c, gain g and review r, applying beats asking from 1 - r / c, and beats doing nothing from
        c / (c + g).

        Returns
        -------
        float
            In [0, 1].
        """
        cost = self.costs[said][rival]
        return max(0.0, 1.0 - self.review / cost, cost / (cost + self.gain)) if cost > 0.0 else 0.0


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that no probability outweighs; it can only lower a decision.

    Parameters
    ----------
    use : str
        Where it holds.
    at_most : str
        The boldest decision it leaves.
    reason : str
        Why.
    said : tuple of Emotion
        Holds for these labels; all when empty.
    set_contains : tuple of Emotion
        Holds when any of these is in the prediction set; not asked when empty.
    set_larger_than : int
        Holds when the prediction set has more labels than this.
    """

    use: Use
    at_most: Decision
    reason: str
    said: tuple[Emotion, ...] = ()
    set_contains: tuple[Emotion, ...] = ()
    set_larger_than: Annotated[int, Meta(ge=0)] = 0

    def holds(self, use: Use, said: Emotion, prediction_set: Sequence[Emotion]) -> bool:
        """Say whether the rule speaks about this judgement."""
        return (
            use == self.use
            and (not self.said or said in self.said)
            and (not self.set_contains or any(label in prediction_set for label in self.set_contains))
            and len(prediction_set) > self.set_larger_than
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and the sentence that justifies it."""

    decision: Decision
    reason: str


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs and rules of every use, and the coverage that prediction sets promise.

    Parameters
    ----------
    coverage : float
        Probability with which a prediction set must hold the truth, in (0, 1).
    uses : dict
        One ``UsePolicy`` for each of ``playlist``, ``therapy`` and ``catalogue``.
    rules : tuple of Rule
        Applied after the computation.
    """

    coverage: Annotated[float, Meta(gt=0.0, lt=1.0)]
    uses: dict[Use, UsePolicy]
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        if set(self.uses) != set(USES):
            raise ValueError(f"uses: expected {', '.join(USES)}, got {', '.join(sorted(self.uses))}")

    def explain(
        self,
        use: Use,
        probabilities: Mapping[Emotion, float],
        prediction_set: Sequence[Emotion],
        *,
        out_of_domain: bool = False,
    ) -> Verdict:
        """Decide for one use, and say why.

        Parameters
        ----------
        use : str
            ``playlist``, ``therapy`` or ``catalogue``.
        probabilities : mapping of Emotion to float
            Calibrated, summing to 1.
        prediction_set : sequence of Emotion
            The plausible labels.
        out_of_domain : bool
            Whether the input is unlike the training data; nothing is then done with it.

        Returns
        -------
        Verdict
        """
        if out_of_domain:
            return Verdict("withhold", "the audio is unlike anything the model was trained on")
        said = max(EMOTIONS, key=lambda label: probabilities[label])
        economy = self.uses[use]
        gain, harm = economy.gain * probabilities[said], economy.harm(said, probabilities)
        if harm <= economy.review and harm <= gain:
            verdict = Verdict("apply", f"expected harm {harm:.2f} is within the price of asking, {economy.review:.2f}")
        elif gain >= economy.review:
            verdict = Verdict("suggest", f"expected harm {harm:.2f} is above the price of asking, {economy.review:.2f}")
        else:
            verdict = Verdict(
                "withhold", f"expected gain {gain:.2f} is below the price of asking, {economy.review:.2f}"
            )
        for rule in self.rules:
            bolder = _BOLDNESS.index(verdict.decision) > _BOLDNESS.index(rule.at_most)
            if bolder and rule.holds(use, said, prediction_set):
                verdict = Verdict(rule.at_most, rule.reason)
        return verdict

    def decide(
        self, probabilities: Mapping[Emotion, float], prediction_set: Sequence[Emotion], *, out_of_domain: bool = False
    ) -> dict[Use, Decision]:
        """Decide for every use; see `explain`."""
        return {
            use: self.explain(use, probabilities, prediction_set, out_of_domain=out_of_domain).decision for use in USES
        }


def read_policy(path: Path = POLICY_FILE) -> Policy:
    """Read and validate a policy file.

    Parameters
    ----------
    path : Path
        TOML, in the form of ``policy.toml``.

    Returns
    -------
    Policy

    Raises
    ------
    ValueError
        If it is not TOML, or a cost, use or label is missing, unknown or out of range.
    """
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Policy)
