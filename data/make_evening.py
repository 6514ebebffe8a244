# ruff: noqa: INP001, S311  # a script, and no part of a package; what is made up needs a seed, not secrecy
"""Make ``data/samples/evening``: an hour of seven simulated markets of three events, with news, fees and gaps.

Nothing is heard over a socket and nobody waits: the simulated markets move by an invented clock, what they send is
written down with the times at which it would have arrived, and ``pmlive.captures`` records it. The same seed makes the
same recording. Beside it ``evening.csv`` lists the news: when, of which market, and which outcome they favoured.
Run it as ``python data/make_evening.py [FOLDER]``.
"""

import csv
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from heapq import heapify, heapreplace
from math import exp
from pathlib import Path
from random import Random
from typing import NamedTuple

from pmlive import Market
from pmlive.captures import import_capture
from pmlive.markets import FeeSchedule
from pmlive.sim import Beliefs, Tape, event_markets
from pmlive.sim import Market as Simulated

OUT = Path(__file__).parent / "samples"
SEED = 41
START = int(datetime(2026, 11, 24, 19, tzinfo=UTC).timestamp() * 1000)
SECONDS = 3600
FEE_RATE = 0.04
# Beliefs learn a little each second, and much at news, in nats.
QUIET, NEWS = 0.00003, (0.03, 0.09)
# How much more happens right after news, and for how many seconds it takes to calm down.
EXCITED, CALMING = 6.0, 18.0
# How many of the best levels a side go when there are news about their market.
LEAVING = 3
# What the connection misses: when, and for how many seconds.
DISCONNECTED, DISCONNECTED_FOR = 1_500.0, 9.0
# When messages about one token stop, and for how many seconds; and when one message of a market is lost.
SILENT, SILENT_FOR = 2_570.0, 45.0
SKIPPED = (700.0, 3_060.0)


class Event(NamedTuple):
    """An event as it is played: its markets, what is believed of them, how busy each is, and when there are news."""

    markets: list[Simulated]
    beliefs: Beliefs
    rates: list[float]
    news: list[int]


class News(NamedTuple):
    """One line of the calendar."""

    time: str
    market: str
    outcome: str


def main(out: Path = OUT) -> None:
    """Write the recording and its calendar into a folder."""
    events = list(_events())
    tape = Tape(seed=SEED, depth=10)
    news = play(events, tape)
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "evening.jsonl"
        tape.write(capture)
        named = [_described(market) for event in events for market in event.markets]
        import_capture(capture, out / "evening", markets=named, level=19)
    tidy(out / "evening")
    _write(news, out / "evening.csv")


def play(events: list[Event], tape: Tape) -> list[News]:
    """Let the hour happen, and tell the news."""
    rng, calendar = Random(f"{SEED}/evening"), list[News]()
    excited = [float("-inf")] * len(events)
    owners = {market.slug: number for number, event in enumerate(events) for market in event.markets}
    rates = {market.slug: rate for event in events for market, rate in zip(event.markets, event.rates, strict=True)}
    disturb = _disturbances(tape, events)
    for event in events:
        for place, market in enumerate(event.markets):
            tape.add(market, START, belief=_belief_of(event.beliefs, place))
    queue = [(START + rng.random() * 1000, slug) for slug in rates] + [(float(START + 1000), "")]
    heapify(queue)
    while queue[0][0] < START + SECONDS * 1000:
        at, slug = queue[0]
        if not slug:
            heard = list(_second(events, excited, int(at)))
            for one in heard:
                tape.withdraw(one.market, int(at) + 300, levels=LEAVING)
            calendar += heard
            disturb(int(at) + 300)
            heapreplace(queue, (at + 1000, ""))
            continue
        tape.step(slug, max(int(at), tape.now))
        pace = rates[slug] * (1 + EXCITED * exp((excited[owners[slug]] - at / 1000) / CALMING))
        heapreplace(queue, (at + rng.expovariate(pace) * 1000, slug))
    return calendar


def _events() -> Iterator[Event]:
    bill = event_markets("Will the river bill pass tonight?", {"": "Will the river bill pass tonight?"}, seed=SEED)
    yield Event(bill, Beliefs([0.46, 0.54], seed=f"{SEED}/bill"), [0.75], _moments("bill", 13))
    runners = {name: f"Will {name} be chosen as the new chair?" for name in ("Ash", "Birch", "Cedar", "Dogwood")}
    chair = event_markets("Who will be chosen as the new chair?", runners, seed=SEED, fee_rate=FEE_RATE)
    prior = [0.41, 0.29, 0.19, 0.11]
    yield Event(chair, Beliefs(prior, seed=f"{SEED}/chair"), [0.27, 0.25, 0.21, 0.17], _moments("chair", 9))
    places = {name: f"Will {name} host the games?" for name in ("Northport", "Eastmouth")}
    host = event_markets("Who will host the games?", places, seed=SEED, fee_rate=FEE_RATE, augmented=True)
    # A tenth is believed of places that no market names.
    yield Event(host, Beliefs([0.52, 0.37, 0.11], seed=f"{SEED}/host"), [0.18, 0.18], _moments("host", 5))


def _moments(name: str, count: int) -> list[int]:
    """Spread news over the hour, never too close to each other."""
    rng = Random(f"{SEED}/{name}/news")
    room = SECONDS / count
    return [START + int((place + 0.25 + 0.5 * rng.random()) * room) * 1000 for place in range(count)]


def _belief_of(beliefs: Beliefs, place: int) -> Callable[[int], float]:
    return lambda _: beliefs.chances[place]


def _second(events: list[Event], excited: list[float], at: int) -> Iterator[News]:
    """Let beliefs learn for a second, and from the news of it."""
    for number, event in enumerate(events):
        event.beliefs.learn(QUIET)
        if at in event.news:
            before = event.beliefs.chances
            event.beliefs.learn(Random(f"{SEED}/{at}/size").uniform(*NEWS))
            excited[number] = at / 1000
            moved = [after - was for after, was in zip(event.beliefs.chances, before, strict=True)]
            place = max(range(len(event.markets)), key=lambda each: abs(moved[each]))
            time = datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z")
            yield News(time, event.markets[place].slug, "Yes" if moved[place] > 0 else "No")


def _disturbances(tape: Tape, events: list[Event]) -> Callable[[int], None]:
    """Give what is done each second to disturb the client."""
    deaf = events[1].markets[0].token_of("No")

    def disturb(at: int) -> None:
        second = (at - START) // 1000
        if second == DISCONNECTED:
            tape.lose(at, seconds=DISCONNECTED_FOR)
        if second == SILENT:
            tape.fault("silent", token_id=deaf, seconds=SILENT_FOR)
        if second in SKIPPED:
            tape.fault("skip", token_id=events[0].markets[0].token_ids[0])

    return disturb


def _described(market: Simulated) -> Market:
    """Name a market as the venue's catalogue would."""
    return Market(
        condition_id=market.condition_id,
        slug=market.slug,
        event_slug=market.event_slug,
        question=market.question,
        outcomes=list(market.outcomes),
        token_ids=list(market.token_ids),
        tick_size=str(market.tick_size),
        min_order_size=str(market.min_order_size),
        neg_risk=market.neg_risk,
        neg_risk_augmented=market.augmented,
        fees=FeeSchedule(enabled=market.fee_rate > 0, rate=market.fee_rate, exponent=1),
    )


def tidy(folder: Path) -> None:
    """Leave out what only a recorder needs."""
    (folder / ".lock").unlink(missing_ok=True)
    (folder / "wal").rmdir()


def _write(news: list[News], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(News._fields)
        writer.writerows(news)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
