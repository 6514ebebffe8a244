"""The plainest market maker, and simulations that are told of markets instead of fees and pairs."""

from collections.abc import Iterator

import msgspec
import pytest
from test_analysis_marketmaking import FREE, Tape

from pmlive.analysis import JoinBest, Simulation, simulate
from pmlive.markets import FeeSchedule
from pmlive.recording import RecordedEvent


class _Market(msgspec.Struct):
    slug: str = "rain"
    event_slug: str = "rain"
    outcomes: list[str] = msgspec.field(default_factory=lambda: ["Yes", "No"])
    token_ids: list[str] = msgspec.field(default_factory=lambda: ["yes", "no"])
    fees: FeeSchedule = FREE


def played(events: Iterator[RecordedEvent], *, size: float = 20, limit: float = 50) -> Simulation:
    maker = JoinBest("yes", size=size, limit=limit)
    return simulate(events, maker, latency="0ms", markets=[_Market()])


def quoted(made: Simulation) -> list[tuple[str, float, float, str]]:
    return made.orders.select("side", "price", "size", "status").rows()


def test_it_joins_both_sides_and_moves_with_them() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "bid", 0.41, 30)
        yield tape.level(20, "bid", 0.38, 5)
        yield tape.level(30, "bid", 0.37, 5)

    assert quoted(played(story(Tape()))) == [
        ("buy", 0.4, 20.0, "cancelled"),
        ("sell", 0.44, 20.0, "open"),
        ("buy", 0.41, 20.0, "open"),
    ]


def test_it_never_holds_more_than_the_limit_of_either_sign() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        for at in range(100, 1000, 100):
            yield tape.trade(at, "sell", 0.40, 500)
            yield tape.level(at + 10, "bid", 0.40, 100)

    made = played(story(Tape()))

    assert made.fills["size"].to_list() == [20.0, 20.0, 10.0]
    assert made.path["inventory"].to_list() == [20.0, 40.0, 50.0]


def test_in_a_gap_and_of_other_tokens_it_does_nothing() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book(0, "no")
        yield tape.book(10)
        yield tape.gap(20)
        yield tape.level(30, "bid", 0.41, 30)

    made = played(story(Tape()))

    assert [(row[3], row[1]) for row in quoted(made)] == [("cancelled", 0.4), ("cancelled", 0.44)]
    assert set(made.orders["reason"]) == {"gap"}


def test_markets_tell_the_pairs() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.book(1, "no")
        # Buying No at 0.60 is selling Yes at 0.40.
        yield tape.trade(10, "buy", 0.60, 150, "no")

    assert played(story(Tape())).fills.select("side", "price", "size").rows() == [("buy", 0.4, 20.0)]


def test_sizes_that_quote_nothing_are_refused() -> None:
    for size, limit in ((0, 1), (1, 0), (-1, 1)):
        with pytest.raises(ValueError, match="expected shares above 0"):
            JoinBest("yes", size=size, limit=limit)
