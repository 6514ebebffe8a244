"""What a crowd believes of an event with several outcomes, while evidence of the true one comes in; pure.

One outcome is true, drawn by its prior. Evidence of ``i`` nats is a normal number of variance ``2 * i`` about each
outcome, with a mean of ``2 * i`` about the true one, and beliefs follow it by Bayes' rule. So chances are calibrated
and a martingale by construction, at every time and of any number of outcomes; what an analysis says can be checked.
"""

from collections.abc import Sequence
from math import exp, log
from random import Random

__all__ = ["Beliefs"]

# Surer than this nobody is: further evidence would be lost in the rounding of floats.
_SUREST = 30.0


class Beliefs:
    """The chances of the outcomes of one event, which add up to 1.

    >>> beliefs = Beliefs([0.5, 0.25, 0.25], seed=7)
    >>> beliefs.chances
    [0.5, 0.25, 0.25]
    >>> beliefs.learn(0.1)
    >>> round(sum(beliefs.chances), 9), beliefs.truth
    (1.0, 2)
    """

    def __init__(self, prior: Sequence[float], *, seed: int | str) -> None:
        if len(prior) < 2 or min(prior) <= 0 or abs(sum(prior) - 1) > 1e-9:  # noqa: PLR2004  # less is no question
            raise ValueError(f"a prior is two chances or more, above 0, that add up to 1, not {list(prior)!r}")
        self._rng = Random(f"{seed}/beliefs")
        self._scores = [log(chance) for chance in prior]
        self.truth: int = self._rng.choices(range(len(prior)), prior)[0]

    @property
    def chances(self) -> list[float]:
        """Give what is believed now, in the order of the prior."""
        best = max(self._scores)
        weights = [exp(score - best) for score in self._scores]
        total = sum(weights)
        return [weight / total for weight in weights]

    def learn(self, evidence: float) -> None:
        """Take so much evidence, in nats: news are a tenth or more at once, a quiet second a ten-thousandth."""
        spread = (2 * evidence) ** 0.5
        for outcome in range(len(self._scores)):
            self._scores[outcome] += self._rng.gauss(0, spread) + 2 * evidence * (outcome == self.truth)
        best = max(self._scores)
        self._scores = [max(score - best, -_SUREST) for score in self._scores]
