"""Beliefs about events with several outcomes, and the quotes of many decided events that follow them; pure.

One outcome is true, drawn from the prior. Evidence of ``i`` nats is a normal random number of variance ``2 * i`` for
each outcome, with a mean of ``2 * i`` for the true one and 0 for the others, and beliefs follow it by Bayes' rule. So
the probabilities are calibrated and a martingale by construction, at every time and for any number of outcomes, and the
results of an analysis can be checked against them.
"""

from collections.abc import Iterator, Sequence
from math import ceil, exp, floor, log
from random import Random
from typing import NamedTuple

__all__ = ["Beliefs", "Decided", "Quote", "decided_events"]

# The greatest gap between two outcomes' log-probabilities; floats would round further evidence away.
_MAX_SCORE_GAP = 30.0

_HOUR = 3_600_000_000_000
# Evidence comes faster towards the end: so much, in nats, each time the remaining life shrinks by a factor of e.
_EVIDENCE = 0.22
# The probability of news in an hour, and the most nats of evidence that news has.
_NEWS, _NEWS_SIZE = 0.015, 0.4
_MIN_CHANCE = 0.0005
# The venue's tick sizes, and the prices beyond which it uses the fine one.
_COARSE, _FINE = 0.01, 0.001
_FINE_ABOVE, _FINE_BELOW = 0.96, 0.04


class Beliefs:
    """The probabilities of the outcomes of one event, which add up to 1; ``truth`` is the outcome that is true.

    >>> beliefs = Beliefs([0.5, 0.25, 0.25], seed=7)
    >>> beliefs.chances
    [0.5, 0.25, 0.25]
    >>> beliefs.learn(0.1)
    >>> round(sum(beliefs.chances), 9), beliefs.truth
    (1.0, 2)
    """

    def __init__(self, prior: Sequence[float], *, seed: int | str) -> None:
        if len(prior) < 2 or min(prior) <= 0 or abs(sum(prior) - 1) > 1e-9:  # noqa: PLR2004  # one outcome is no question
            raise ValueError(f"invalid prior {list(prior)!r}; expected two or more positive numbers that sum to 1")
        self._rng = Random(f"{seed}/beliefs")
        self._scores = [log(chance) for chance in prior]
        self.truth: int = self._rng.choices(range(len(prior)), prior)[0]

    @property
    def chances(self) -> list[float]:
        """Return the present probabilities, in the order of the prior."""
        best = max(self._scores)
        weights = [exp(score - best) for score in self._scores]
        total = sum(weights)
        return [weight / total for weight in weights]

    def learn(self, evidence: float) -> None:
        """Update with evidence, in nats: a tenth or more for news, a ten-thousandth for a quiet second."""
        spread = (2 * evidence) ** 0.5
        for outcome in range(len(self._scores)):
            self._scores[outcome] += self._rng.gauss(0, spread) + 2 * evidence * (outcome == self.truth)
        best = max(self._scores)
        self._scores = [max(score - best, -_MAX_SCORE_GAP) for score in self._scores]


class Quote(NamedTuple):
    """The best prices of a book at a time, in nanoseconds since 1970; ``mid`` is null where a side is empty."""

    token_id: str
    ts_recv: int
    best_bid: float | None
    best_ask: float | None
    mid: float | None


class Decided(NamedTuple):
    """The result of one outcome of an event: ``outcome`` is 1 for the true one, ``ts_recv`` is the event's end."""

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
    """Make events of two to six outcomes: a quote of every Yes each hour, and how each event ended.

    The beliefs are calibrated by construction (``Beliefs``). The quotes are these to the power of ``stretch``, over the
    sum of such powers: below 1, long shots are too expensive, above 1, too cheap, and at 1 prices are fair. An event of
    two outcomes is a plain market, of which only Yes is quoted.

    >>> quotes, outcomes = decided_events(2, seed=1, hours=24)
    >>> quotes[0].best_bid, quotes[0].mid, quotes[0].best_ask
    (0.09, 0.1, 0.11)
    >>> len(quotes) == 24 * len(outcomes), {each.event for each in outcomes} == {"event 0", "event 1"}
    (True, True)
    """
    quotes, outcomes = list[Quote](), list[Decided]()
    for event in range(number):
        rng = Random(f"{seed}/event/{event}")
        beliefs = Beliefs(_prior(rng), seed=f"{seed}/event/{event}")
        quoted_outcomes = len(beliefs.chances) if len(beliefs.chances) > len(("Yes", "No")) else 1
        tokens = [f"{event}-{outcome}" for outcome in range(quoted_outcomes)]
        for hour, chances in enumerate(_hourly_chances(beliefs, rng, hours)):
            at = start + hour * _HOUR
            quoted = _stretch(chances, stretch)
            quotes += [_quote(token, at, chance) for token, chance in zip(tokens, quoted, strict=False)]
        end = start + hours * _HOUR
        outcomes += [Decided(f"event {event}", token, end, int(beliefs.truth == at)) for at, token in enumerate(tokens)]
    return quotes, outcomes


def _prior(rng: Random) -> list[float]:
    weights = [rng.gammavariate(0.9, 1.0) + 0.03 for _ in range(rng.choice((2, 2, 2, 3, 4, 6)))]
    return [weight / sum(weights) for weight in weights]


def _hourly_chances(beliefs: Beliefs, rng: Random, hours: int) -> Iterator[list[float]]:
    for hour in range(hours):
        yield beliefs.chances
        left = hours - hour
        beliefs.learn(_EVIDENCE * (log(left) - log(max(left - 1, 0.5))))
        if rng.random() < _NEWS:
            beliefs.learn(_NEWS_SIZE * rng.random())


def _stretch(chances: Sequence[float], stretch: float) -> list[float]:
    powers = [max(chance, _MIN_CHANCE) ** stretch for chance in chances]
    return [power / sum(powers) for power in powers]


def _quote(token_id: str, at: int, chance: float) -> Quote:
    """Quote about a tick below and above, on the grid; a side whose price would be 0 or 1 is empty."""
    steps = round(1 / (_COARSE if _FINE_BELOW <= chance <= _FINE_ABOVE else _FINE))
    low, high = floor(chance * steps - 0.5), ceil(chance * steps + 0.5)
    bid = low / steps if low > 0 else None
    ask = high / steps if high < steps else None
    return Quote(token_id, at, bid, ask, None if bid is None or ask is None else (bid + ask) / 2)
