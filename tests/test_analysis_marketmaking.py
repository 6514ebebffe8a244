"""Orders that were not there are filled as the stated assumptions say: each has a case that is worked out by hand."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isclose, nan
from random import Random
from typing import Any, Literal, TypeAlias

import msgspec
import polars as pl
import pytest
from analysing import START, gaps, quotes
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import pmlive as pm
from pmlive.analysis import Orders, Simulation, markouts, simulate
from pmlive.analysis.arbitrage import FeesByToken
from pmlive.events import BookSide
from pmlive.gaps import GapInterval
from pmlive.markets import FeeSchedule
from pmlive.recording import (
    BookEvent,
    GapBeginEvent,
    GapEndEvent,
    LevelEvent,
    RecordedEvent,
    ResolutionEvent,
    TradeEvent,
)
from pmlive.recording.events import MovingBook

Side: TypeAlias = Literal["buy", "sell"]
Do: TypeAlias = Callable[[Orders], object]

MS = 1_000_000
FREE = FeeSchedule(enabled=False)
FEES: FeesByToken = {"yes": FREE, "no": FREE}
LADDERS = ([0.40, 0.39], [100.0, 50.0], [0.44, 0.45], [80.0, 60.0])
MIRRORED = ([0.56, 0.55], [80.0, 60.0], [0.60, 0.61], [100.0, 50.0])


class Tape:
    """Events of two tokens whose books are kept up as they are told, in milliseconds after the start."""

    def __init__(self) -> None:
        self.books = {"yes": MovingBook("yes"), "no": MovingBook("no")}
        self.seq = 0

    def _common(self, at: float, token: str) -> tuple[int, int, int, int, str]:
        self.seq += 1
        time = START + round(at * MS)
        return self.seq, time, time, 1, token

    def book(self, at: float = 0, token: str = "yes") -> RecordedEvent:
        seq, time, event, conn, _ = self._common(at, token)
        ladders = LADDERS if token == "yes" else MIRRORED
        book = self.books[token]
        book.replace(ladders, 1)
        names = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
        return BookEvent(
            seq=seq,
            ts_recv=time,
            ts_event=event,
            conn=conn,
            token_id=token,
            book=book.view,
            source="venue",
            **dict(zip(names, ladders, strict=True)),
        )

    def level(self, at: float, side: BookSide, price: float, size: float, token: str = "yes") -> RecordedEvent:
        book = self.books[token]
        (book.bids if side == "bid" else book.asks).put(price, size)
        return LevelEvent(*self._common(at, token), book.view, side, price, size, "verified")

    def trade(self, at: float, side: Side, price: float, size: float, token: str = "yes") -> RecordedEvent:
        return TradeEvent(*self._common(at, token), self.books[token].view, price, size, side, None, None)

    def gap(self, at: float, token: str = "yes") -> RecordedEvent:
        common, book = self._common(at, token), self.books[token]
        book.gaps = [
            GapInterval(
                seq=1,
                started=common[1],
                ended=None,
                until=2**63 - 1,
                cause="silence",
                detail="",
                token_id=token,
                conn=1,
            )
        ]
        return GapBeginEvent(*common, book.view, common[1], None, "silence", "")

    def gap_end(self, at: float, token: str = "yes") -> RecordedEvent:
        book = self.books[token]
        book.gaps = []
        return GapEndEvent(*self._common(at, token), book.view, START, None, "silence", "")

    def resolution(self, at: float, payout: float | None, token: str = "yes") -> RecordedEvent:
        book = self.books[token]
        return ResolutionEvent(*self._common(at, token), book.view, None, None, payout)


def play(
    story: Callable[[Tape], Iterator[RecordedEvent]],
    done: Mapping[float, Do],
    *,
    latency: str = "0ms",
    cancellations: Literal["pessimistic", "proportional"] = "pessimistic",
    pairs: Sequence[tuple[str, str]] = (),
    fees: FeesByToken = FEES,
) -> Simulation:
    """Simulate a strategy that does something at some times, given in milliseconds."""

    def strategy(event: RecordedEvent, orders: Orders) -> None:
        doing = done.get((event.ts_recv - START) / MS)
        if doing is not None and event.kind != "gap_begin":
            doing(orders)

    return simulate(story(Tape()), strategy, latency=latency, cancellations=cancellations, pairs=pairs, fees=fees)


def buy(
    price: float, size: float, token: str = "yes", order_type: Literal["post_only", "limit", "ioc"] = "post_only"
) -> Do:
    return lambda orders: orders.place(token, "buy", price=price, size=size, order_type=order_type)


def sell(
    price: float, size: float, token: str = "yes", order_type: Literal["post_only", "limit", "ioc"] = "post_only"
) -> Do:
    return lambda orders: orders.place(token, "sell", price=price, size=size, order_type=order_type)


def filled(made: Simulation) -> list[tuple[float, float, float]]:
    """List the milliseconds, price and size of fills."""
    rows = made.fills.select(pl.col("ts_recv").dt.epoch("ns"), "price", "size").rows()
    return [((time - START) / MS, price, size) for time, price, size in rows]


def ended(made: Simulation) -> list[tuple[str, str]]:
    return made.orders.select(pl.col("status").cast(pl.String), "reason").rows()


def test_an_order_waits_until_what_was_ahead_has_traded() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "bid", 0.40, 40)
        yield tape.trade(11, "sell", 0.40, 60)
        yield tape.level(20, "bid", 0.40, 0)
        yield tape.trade(21, "sell", 0.40, 55)
        yield tape.trade(30, "sell", 0.40, 4)

    made = play(story, {0: buy(0.40, 18)})

    assert filled(made) == [(21, 0.40, 15), (30, 0.40, 3)]
    assert made.fills["queue_ahead"].to_list() == [100, 100]
    assert made.fills["maker"].to_list() == [True, True]
    assert ended(made) == [("filled", "")]


def test_a_change_and_the_trade_that_caused_it_shorten_the_queue_once_whichever_comes_first() -> None:
    def change_first(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "bid", 0.40, 40)
        yield tape.trade(11, "sell", 0.40, 60)
        yield tape.level(5_000, "ask", 0.45, 61)
        yield tape.trade(5_001, "sell", 0.40, 41)

    def trade_first(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(10, "sell", 0.40, 60)
        yield tape.level(11, "bid", 0.40, 40)
        yield tape.level(5_000, "ask", 0.45, 61)
        yield tape.trade(5_001, "sell", 0.40, 41)

    assert filled(play(change_first, {0: buy(0.40, 10)})) == [(5_001, 0.40, 1)]
    assert filled(play(trade_first, {0: buy(0.40, 10)})) == [(5_001, 0.40, 1)]


@pytest.mark.parametrize(("cancellations", "fill"), [("pessimistic", 5), ("proportional", 15)])
def test_cancellations_come_from_behind_or_from_everybody_alike(
    cancellations: Literal["pessimistic", "proportional"], fill: float
) -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(5, "bid", 0.40, 200)  # 100 ahead of us, 100 behind
        yield tape.level(10, "bid", 0.40, 180)  # nobody trades: 10 % leave
        yield tape.trade(2_000, "sell", 0.40, 105)

    assert filled(play(story, {0: buy(0.40, 30)}, cancellations=cancellations)) == [(2_000, 0.40, fill)]


def test_of_a_queue_no_more_is_ahead_than_is_displayed() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "bid", 0.40, 30)  # nobody is behind us, so 70 of those ahead have left
        yield tape.trade(2_000, "sell", 0.40, 35)

    assert filled(play(story, {0: buy(0.40, 30)})) == [(2_000, 0.40, 5)]


def test_a_trade_that_shows_a_change_from_before_an_order_came_does_not_count() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "bid", 0.40, 40)
        yield tape.trade(11, "sell", 0.40, 60)  # what it took had gone when we came
        yield tape.trade(12, "sell", 0.40, 41)

    made = play(story, {10: buy(0.40, 10)})

    assert made.fills["queue_ahead"].to_list() == [40]
    assert filled(made) == [(12, 0.40, 1)]


def test_a_better_price_is_filled_before_a_worse_one_and_never_by_more_than_was_traded() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(10, "sell", 0.40, 30)
        yield tape.trade(20, "sell", 0.39, 500)

    def quote(orders: Orders) -> None:
        buy(0.40, 10)(orders)
        buy(0.41, 20)(orders)
        buy(0.41, 5)(orders)

    made = play(story, {0: quote})

    # The trade of 30 fills both at 0.41; the five that are left are less than the 100 ahead at 0.40.
    assert filled(made) == [(10, 0.41, 20), (10, 0.41, 5), (20, 0.40, 10)]
    assert made.fills["order_id"].to_list() == [2, 3, 1]


@pytest.mark.parametrize(
    ("last", "fills"), [(7, [(10, 7)]), (10, [(10, 10)]), (18, [(10, 10)]), (24, [(10, 10), (10, 4)])]
)
def test_orders_at_one_price_are_filled_in_order_of_time(last: float, fills: list[tuple[float, float]]) -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(5, "bid", 0.40, 110)
        yield tape.trade(10, "sell", 0.40, 100 + last)

    # 100 are ahead, then our 10, the 10 that came before our second order, and that one.
    made = play(story, {0: buy(0.40, 10), 5: buy(0.40, 10)})

    assert [(time, size) for time, _, size in filled(made)] == fills
    assert made.fills["queue_ahead"].to_list() == [100, 110][: len(fills)]
    assert made.fills["order_id"].to_list() == [1, 2][: len(fills)]


def test_a_taker_walks_the_book_and_pays_by_the_formula_of_the_venue() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "bid", 0.39, 51)

    fees = {"yes": FeeSchedule(enabled=True, rate=0.07, exponent=1)}
    made = play(story, {0: buy(0.45, 100, order_type="limit")}, fees=fees)

    assert filled(made) == [(0, 0.44, 80), (0, 0.45, 20)]
    fee = [80 * 0.07 * 0.44 * 0.56, 20 * 0.07 * 0.45 * 0.55]
    assert made.fills["fee"].to_list() == pytest.approx(fee)
    assert made.fills["queue_ahead"].to_list() == [None, None]
    held = made.positions.row(0, named=True)
    assert held["cash"] == pytest.approx(-80 * 0.44 - 20 * 0.45 - sum(fee))
    assert (held["inventory"], held["volume"], held["mid"]) == (100, 100, 0.42)
    assert held["pnl_mid"] == pytest.approx(held["cash"] + 42)
    assert made.pnl("settlement") is None


def test_what_a_taker_leaves_rests_or_is_cancelled_and_a_maker_who_would_take_is_rejected() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(10, "sell", 0.44, 50)

    for order_type, fills, end in (
        ("limit", [(0, 0.44, 80), (10, 0.44, 20)], ("filled", "")),
        ("ioc", [(0, 0.44, 80)], ("cancelled", "did not rest")),
        ("post_only", [], ("rejected", "would trade at once")),
    ):
        made = play(story, {0: buy(0.44, 100, order_type=order_type)})  # pyright: ignore[reportArgumentType]
        assert (filled(made), ended(made)) == (fills, [end])


def test_makers_pay_no_fees() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(10, "buy", 0.43, 7)

    made = play(story, {0: sell(0.43, 10)}, fees={"yes": FeeSchedule(enabled=True, rate=0.07, exponent=1)})

    assert made.fills.select("price", "size", "fee", "maker").rows() == [(0.43, 7, 0, True)]
    assert made.path.select("inventory", "cash").rows() == [(-7, pytest.approx(3.01))]


def test_an_order_meets_the_book_as_it_is_after_the_latency() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(20, "ask", 0.44, 0)
        yield tape.level(40, "ask", 0.45, 3)
        yield tape.level(60, "ask", 0.45, 1_000)

    taken: dict[float, Do] = {0: buy(0.45, 5, order_type="ioc")}
    assert filled(play(story, taken, latency="10ms")) == [(10, 0.44, 5)]
    assert filled(play(story, taken, latency="20ms")) == [(20, 0.45, 5)]
    assert filled(play(story, taken, latency="45ms")) == [(45, 0.45, 3)]


def test_what_is_filled_before_a_cancellation_takes_effect_counts() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(20, "ask", 0.45, 61)
        yield tape.trade(50, "sell", 0.41, 2)
        yield tape.trade(80, "sell", 0.41, 4)

    done: dict[float, Do] = {0: buy(0.41, 10), 20: lambda orders: orders.cancel_all()}
    made = play(story, done, latency="40ms")

    assert filled(made) == [(50, 0.41, 2)]
    assert ended(made) == [("cancelled", "cancelled by the strategy")]


def test_our_orders_do_not_move_the_market() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "bid", 0.39, 51)
        yield tape.level(20, "bid", 0.39, 52)

    made = play(story, {0: buy(0.44, 80, order_type="ioc"), 10: buy(0.44, 80, order_type="ioc")})

    assert filled(made) == [(0, 0.44, 80), (10, 0.44, 80)]


def test_a_book_that_crosses_an_order_without_a_trade_does_not_fill_it() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.level(10, "ask", 0.41, 500)
        yield tape.level(20, "ask", 0.41, 0)

    made = play(story, {0: lambda orders: (buy(0.42, 10)(orders), buy(0.40, 10)(orders))})

    assert filled(made) == []
    assert ended(made) == [("open", ""), ("open", "")]
    assert made.orders["crossed"].to_list() == [True, False]


def test_a_gap_cancels_orders_and_nothing_is_filled_in_it() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.gap(10)
        yield tape.trade(20, "sell", 0.30, 1_000)
        yield tape.level(25, "bid", 0.39, 53)
        yield tape.gap_end(30)
        yield tape.trade(40, "sell", 0.30, 1_000)

    made = play(story, {0: buy(0.40, 10), 20: buy(0.40, 10), 30: buy(0.40, 10)})

    assert filled(made) == [(40, 0.40, 10)]
    assert ended(made) == [("cancelled", "gap"), ("rejected", "no trusted book"), ("filled", "")]


def test_a_trade_of_one_outcome_fills_orders_of_the_other_but_only_once() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book(0, "yes")
        yield tape.book(1, "no")
        # Whoever buys Yes at 0.43 meets our sale of it, or our purchase of No at 0.57.
        yield tape.trade(10, "buy", 0.43, 12, "yes")

    def quote(orders: Orders) -> None:
        sell(0.43, 10, "yes")(orders)
        buy(0.57, 10, "no")(orders)

    apart, together = (play(story, {1: quote}, pairs=pairs) for pairs in ((), [("yes", "no")]))

    assert apart.fills.select("token_id", "size").rows() == [("yes", 10)]
    assert together.fills.select("token_id", "price", "size").rows() == [("yes", 0.43, 10), ("no", 0.57, 2)]


def test_inventory_is_settled_by_the_resolution_or_as_it_is_given() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(10, "sell", 0.41, 10)
        yield tape.resolution(20, 1.0)
        yield tape.trade(30, "sell", 0.30, 10)

    made = play(story, {0: buy(0.41, 30), 20: buy(0.40, 30)})

    assert made.positions.select("inventory", "settlement", "pnl_settlement").rows() == [(10, 1, pytest.approx(5.9))]
    assert made.pnl("settlement") == pytest.approx(5.9)
    assert made.pnl() == pytest.approx(10 * (0.42 - 0.41))
    assert ended(made) == [("cancelled", "market resolved"), ("rejected", "market resolved")]

    def unresolved(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(10, "sell", 0.41, 10)

    lost = simulate(
        unresolved(Tape()),
        lambda _, orders: None if orders.live() or orders.inventory("yes") else buy(0.41, 10)(orders),
        latency="0s",
        fees=FEES,
        settlement={"yes": 0.0},
    )
    assert lost.pnl("settlement") == pytest.approx(-4.1)


def test_a_strategy_may_be_an_object() -> None:
    class Quoter:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def on_event(self, event: RecordedEvent, orders: Orders) -> None:
            self.seen.append(event.kind)
            assert orders.cash == 0

    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(10, "sell", 0.41, 10)

    quoter = Quoter()
    made = simulate(story(Tape()), quoter, latency="1ms", fees=FEES)

    assert quoter.seen == ["book", "trade"]
    assert (made.fills.height, made.path.height, made.positions.height, made.orders.height) == (0, 0, 0, 0)
    assert made.pnl() == 0


def test_what_cannot_be_an_order_or_an_assumption_is_refused() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()

    for price, size in ((0.0, 1), (1.0, 1), (nan, 1), (0.5, 0), (0.5, -1), (0.5, float("inf"))):
        with pytest.raises(ValueError, match="invalid price"):
            play(story, {0: buy(price, size)})
    with pytest.raises(ValueError, match="invalid side"):
        play(story, {0: lambda orders: orders.place("yes", "bid", price=0.5, size=1)})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="invalid latency"):
        play(story, {}, latency="-1ms")
    with pytest.raises(ValueError, match="invalid cancellations"):
        play(story, {}, cancellations="none")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="no token twice"):
        play(story, {}, pairs=[("yes", "no"), ("yes", "x")])
    with pytest.raises(ValueError, match="no token twice"):
        play(story, {}, pairs=[("yes", "yes")])
    with pytest.raises(ValueError, match="no fees for token"):
        play(lambda tape: iter([tape.book(), tape.book(1)]), {0: buy(0.44, 1, order_type="ioc")}, fees={})


# --- what holds of any night ---

Happening: TypeAlias = tuple[str, str, float, float, str]

PRICES = (0.38, 0.39, 0.40, 0.41, 0.42, 0.43, 0.44, 0.45)
seeds = st.integers(0, 2**32 - 1)
assumptions = st.fixed_dictionaries(
    {
        "latency": st.sampled_from(["0ms", "2ms", "50ms"]),
        "cancellations": st.sampled_from(["pessimistic", "proportional"]),
        "pairs": st.sampled_from([[], [("yes", "no")]]),
    }
)


class Played:
    """A random night, in which each event has a time of its own, and what a strategy's random acts led to."""

    def __init__(self, seed: int, assumed: dict[str, Any]) -> None:
        self._random = Random(seed)
        self._tape = Tape()
        self.in_gap: set[tuple[str, int]] = set()
        self.traded: dict[int, Happening] = {}
        fees: FeesByToken = {token: FeeSchedule(enabled=True, rate=0.07, exponent=1) for token in FEES}
        self.made = simulate(self._story(), self._act, fees=fees, **assumed)
        signed = pl.when(pl.col("side") == "buy").then(1).otherwise(-1) * pl.col("size")
        self.fills = self.made.fills.with_columns(signed=signed, time=pl.col("ts_recv").dt.epoch("ns"))

    def _story(self) -> Iterator[RecordedEvent]:
        yield self._tape.book(0, "yes")
        yield self._tape.book(0, "no")
        at = 1
        for _ in range(self._random.randint(0, 80)):
            at += self._random.choice((1, 2, 30, 900))
            yield self._happen(at, self._random.choice(("yes", "no")))

    def _happen(self, at: int, token: str) -> RecordedEvent:
        is_in_gap = bool(self._tape.books[token].gaps)
        if self._random.random() < (0.3 if is_in_gap else 0.03):
            return self._tape.gap_end(at, token) if is_in_gap else self._tape.gap(at, token)
        if is_in_gap:
            self.in_gap.add((token, START + at * MS))
        price = self._random.choice(PRICES) if token == "yes" else round(1 - self._random.choice(PRICES), 2)
        if self._random.random() < 0.5:
            side, size = self._random.choice(("bid", "ask")), self._random.choice((0.0, 5.0, 60.0))
            return self._tape.level(at, "bid" if side == "bid" else "ask", price, size, token)
        side, size = self._random.choice(("buy", "sell")), self._random.choice((0.5, 3.0, 40.0, 150.0))
        self.traded[START + at * MS] = "trade", side, price, size, token
        return self._tape.trade(at, "buy" if side == "buy" else "sell", price, size, token)

    def _act(self, _: RecordedEvent, orders: Orders) -> None:
        chance, token = self._random.random(), self._random.choice(("yes", "no"))
        if chance < 0.04:
            orders.cancel_all()
        elif chance < 0.5:
            price = self._random.choice(PRICES) if token == "yes" else round(1 - self._random.choice(PRICES), 2)
            order_type = self._random.choice(("post_only", "post_only", "limit", "ioc"))
            side, size = self._random.choice(("buy", "sell")), self._random.choice((0.5, 3.0, 10.0, 40.0))
            orders.place(token, side, price=price, size=size, order_type=order_type)


@given(seeds, assumptions)
def test_cash_and_inventory_are_what_the_fills_say(seed: int, assumed: dict[str, Any]) -> None:
    played = Played(seed, assumed)
    made, fills = played.made, played.fills

    for held in made.positions.iter_rows(named=True):
        own = fills.filter(pl.col("token_id") == held["token_id"])
        paid = own.select(pl.col("signed").dot("price") + pl.col("fee").sum()).item()
        assert isclose(held["inventory"], own["signed"].sum(), abs_tol=1e-9)
        assert isclose(held["cash"], -paid, abs_tol=1e-9)
        if held["mid"] is not None:
            assert isclose(held["pnl_mid"], held["inventory"] * held["mid"] - paid, abs_tol=1e-9)
    assert (made.orders["filled"] <= made.orders["size"]).all()
    assert isclose(made.orders["filled"].sum(), fills["size"].sum(), abs_tol=1e-9)
    assert fills.filter("maker")["fee"].sum() == 0


@given(seeds, assumptions)
def test_nothing_is_filled_while_a_book_cannot_be_trusted(seed: int, assumed: dict[str, Any]) -> None:
    played = Played(seed, assumed)

    assert not set(played.fills.select("token_id", "time").rows()) & played.in_gap


@given(seeds, assumptions)
def test_makers_have_no_more_than_was_traded_at_their_price_or_through_it(seed: int, assumed: dict[str, Any]) -> None:
    played = Played(seed, assumed)

    had: defaultdict[int, float] = defaultdict(float)
    for fill in played.fills.filter("maker").iter_rows(named=True):
        _, side, price, size, token = played.traded[fill["time"]]
        is_mirrored = fill["token_id"] != token
        assert not is_mirrored or assumed["pairs"]
        at, takers_buy = (1 - price, side == "sell") if is_mirrored else (price, side == "buy")
        assert fill["side"] == ("sell" if takers_buy else "buy")
        assert (fill["price"] - at) * (-1 if takers_buy else 1) >= -1e-9
        had[fill["time"]] += fill["size"]
        assert had[fill["time"]] <= size + 1e-9


def test_a_markout_is_how_the_mid_moved_for_us() -> None:
    def story(tape: Tape) -> Iterator[RecordedEvent]:
        yield tape.book()
        yield tape.trade(1_000, "sell", 0.41, 10)
        yield tape.trade(2_000, "buy", 0.43, 10)

    made = play(story, {0: lambda orders: (buy(0.41, 10)(orders), sell(0.43, 10)(orders))})
    tops = [(0, 0.40, 1, 0.44, 1), (1_500, 0.38, 1, 0.42, 1), (2_500, 0.36, 1, 0.40, 1), (9_000, 0.36, 1, 0.40, 1)]
    moves = markouts(made.fills, quotes(tops), ["1s", "5s"])

    assert moves.select(pl.col("horizon").dt.total_milliseconds(), "order_id").rows() == [
        (1_000, 1),
        (1_000, 2),
        (5_000, 1),
        (5_000, 2),
    ]
    assert moves["mid_before"].to_list() == pytest.approx([0.42, 0.40, 0.42, 0.40])
    assert moves["mid_move"].to_list() == pytest.approx([-0.02, 0.02, -0.04, 0.02])
    assert moves["markout"].to_list() == pytest.approx([-0.01, 0.05, -0.03, 0.05])
    assert moves["touched"].null_count() == 4

    broken = markouts(made.fills, quotes(tops), ["1s"], gaps=gaps([(1_600, 1_700)]))
    assert broken["touched"].to_list() == [True, False]
    assert broken["markout"].is_null().to_list() == [True, False]
    with pytest.raises(ValueError, match="no horizons"):
        markouts(made.fills, quotes(tops), [])


def test_there_are_no_markouts_of_no_fills() -> None:
    made = play(lambda tape: iter([tape.book()]), {})

    assert markouts(made.fills, quotes([(0, 0.40, 1, 0.44, 1)]), ["1s"]).height == 0


def test_a_recording_is_simulated_twice_alike() -> None:
    night = pm.open_recording(pm.sample())
    yes, no = night.markets[0].token_ids

    def join(event: RecordedEvent, orders: Orders) -> None:
        if event.kind == "level" and event.book.trusted and not orders.live(event.token_id):
            bid, ask = event.book.best_bid, event.book.best_ask
            if bid is not None and ask is not None:
                orders.place(event.token_id, "buy", price=bid, size=20)
                orders.place(event.token_id, "sell", price=ask, size=20)

    once, again = (
        simulate(night.events([yes, no]), join, latency="50ms", fees={yes: FREE, no: FREE}, pairs=[(yes, no)])
        for _ in range(2)
    )

    assert once.fills.height > 5
    assert_frame_equal(once.fills, again.fills)
    assert_frame_equal(once.path, again.path)
    assert msgspec.structs.asdict(once).keys() == {"fills", "path", "positions", "orders"}
