"""The beliefs of a crowd about events with several outcomes, and quotes of many decided events that follow them; pure.

One outcome is true, drawn by its prior. Evidence of ``i`` nats is a normal number of variance ``2 * i`` about each
outcome, with a mean of ``2 * i`` about the true one, and beliefs follow it by Bayes' rule. So chances are calibrated
and a martingale by construction, at every time and of any number of outcomes; what an analysis says can be checked.
"""

from collections.abc import Iterator, Sequence
from math import ceil, exp, floor, log
from random import Random
from typing import NamedTuple

__all__ = ["Beliefs", "Decided", "Quote", "decided_events"]

# Surer than this nobody is: further evidence would be lost in the rounding of floats.
_SUREST = 30.0
_HOUR = 3_600_000_000_000
# Evidence comes faster towards the end: this many nats whenever what is left of the life has shrunk by 2.7.
_EVIDENCE = 0.22
# The chance of news in an hour, and the most nats that it has.
_NEWS, _NEWS_SIZE = 0.015, 0.4
_SURE = 0.0005
# The venue's grid, and where it is refined.
_COARSE, _FINE = 0.01, 0.001
_FINE_ABOVE, _FINE_BELOW = 0.96, 0.04


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


class Quote(NamedTuple):
    """The top of a book at a time, in nanoseconds since 1970; ``mid`` is null where a side is empty."""

    token_id: str
    ts_recv: int
    best_bid: float | None
    best_ask: float | None
    mid: float | None


class Decided(NamedTuple):
    """What became of one outcome of an event: ``outcome`` is 1 if it was the true one, ``ts_recv`` when it ended."""

    event: str
    token_id: str
    ts_recv: int
    outcome: int


def decided_events(
    number: int,
    *,
    seed: int = 7,
    hours: int = 192,
    start: int = 1_793_059_200_000_000_000,
    stretch: float = 1.0,
) -> tuple[list[Quote], list[Decided]]:
    """Make so many events of two to six outcomes with a quote of every Yes each hour, and how they ended.

    What is believed is calibrated by construction (``Beliefs``). What is quoted is that to the power of ``stretch``,
    over the sum of such powers: below 1 long shots are dearer than they should be, above 1 cheaper, and 1 is fair. An
    event of two outcomes is a plain market, of which only Yes is quoted.

    >>> quotes, outcomes = decided_events(2, seed=1, hours=24)
    >>> quotes[0].best_bid, quotes[0].mid, quotes[0].best_ask
    (0.09, 0.1, 0.11)
    >>> len(quotes) == 24 * len(outcomes), {each.event for each in outcomes} == {"event 0", "event 1"}
    (True, True)
    """
    quotes, decided = list[Quote](), list[Decided]()
    for event in range(number):
        rng = Random(f"{seed}/event/{event}")
        beliefs = Beliefs(_prior(rng), seed=f"{seed}/event/{event}")
        named = len(beliefs.chances) if len(beliefs.chances) > len(("Yes", "No")) else 1
        tokens = [f"{event}-{outcome}" for outcome in range(named)]
        for hour, chances in enumerate(_lived(beliefs, rng, hours)):
            at = start + hour * _HOUR
            quoted = _stretched(chances, stretch)
            quotes += [_quote(token, at, chance) for token, chance in zip(tokens, quoted, strict=False)]
        end = start + hours * _HOUR
        decided += [Decided(f"event {event}", token, end, int(beliefs.truth == at)) for at, token in enumerate(tokens)]
    return quotes, decided


def _prior(rng: Random) -> list[float]:
    weights = [rng.gammavariate(0.9, 1.0) + 0.03 for _ in range(rng.choice((2, 2, 2, 3, 4, 6)))]
    return [weight / sum(weights) for weight in weights]


def _lived(beliefs: Beliefs, rng: Random, hours: int) -> Iterator[list[float]]:
    for hour in range(hours):
        yield beliefs.chances
        left = hours - hour
        beliefs.learn(_EVIDENCE * (log(left) - log(max(left - 1, 0.5))))
        if rng.random() < _NEWS:
            beliefs.learn(_NEWS_SIZE * rng.random())


def _stretched(chances: Sequence[float], stretch: float) -> list[float]:
    powers = [max(chance, _SURE) ** stretch for chance in chances]
    return [power / sum(powers) for power in powers]


def _quote(token_id: str, at: int, chance: float) -> Quote:
    """Quote a tick or less below and above, on the grid; what would be 0 or 1 is no price, and that side is empty."""
    steps = round(1 / (_COARSE if _FINE_BELOW <= chance <= _FINE_ABOVE else _FINE))
    low, high = floor(chance * steps - 0.5), ceil(chance * steps + 0.5)
    bid = low / steps if low > 0 else None
    ask = high / steps if high < steps else None
    return Quote(token_id, at, bid, ask, None if bid is None or ask is None else (bid + ask) / 2)
