"""The user's own orders and fills in the price chart, from messages that are written down here and from the venue."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import comm
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from support.examples import examples
from support.feed import QUICK
from support.live import address
from support.page import Page
from support.waiting import wait_until
from test_widgets_canvas import followed, sample
from test_widgets_views import gap, rows

import pmlive as pm
from pmlive.manager import Manager
from pmlive.sim import SimulatedVenue
from pmlive.widgets import PriceChart, image
from pmlive.widgets.figures import PricePlot, new_figure
from pmlive.widgets.own import BUYS, END, FAILED, PRICE, SINCE, Own, OwnView, latest
from pmlive.widgets.views import Numbers, PriceView, price_view

S = 1_000_000_000
NOTHING = {table: rows(table, []) for table in ("prices", "trades", "gaps", "user_orders", "user_trades")}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open widgets on a page that keeps what it is sent."""
    opened = Page()
    monkeypatch.setattr(comm, "create_comm", opened.create_comm)
    return opened


def order(at: float, kind: str = "PLACEMENT", name: str = "a", **more: object) -> dict[str, object]:
    """Write a message on an order that buys 10 shares at 0.4."""
    usual = {
        "ts_recv": int(at * S),
        "conn": 7,
        "id": name,
        "token_id": "1",
        "type": kind,
        "side": "buy",
        "price": 0.4,
        "original_size": 10.0,
        "size_matched": 0.0,
        "status": "LIVE",
    }
    return usual | more


def fill(at: float, name: str = "t", **more: object) -> dict[str, object]:
    """Write a message on a trade in which the user took 5 shares at 0.4."""
    usual = {
        "ts_recv": int(at * S),
        "id": name,
        "token_id": "1",
        "side": "buy",
        "price": 0.4,
        "size": 5.0,
        "status": "MATCHED",
        "trader_side": "TAKER",
        "maker_orders": [maker("z")],
    }
    return usual | more


def maker(name: str, **more: object) -> dict[str, object]:
    usual = {"order_id": name, "token_id": "1", "side": "SELL", "price": 0.6, "matched_amount": 3.0}
    return usual | more


def own(
    orders: Sequence[Mapping[str, object]] = (),
    trades: Sequence[Mapping[str, object]] = (),
    gaps: Sequence[Mapping[str, object]] = (),
    token: str = "1",
) -> OwnView:
    return Own(token).take(rows("user_orders", orders), rows("user_trades", trades), rows("gaps", gaps))


def lives(view: OwnView) -> list[tuple[float, float | None]]:
    """List since when and until when orders rest, in seconds; None while they do."""
    found = latest(view["orders"])[:, [SINCE, END]] / 1000
    return [(since, None if math.isnan(end) else end) for since, end in found.tolist()]


# --- orders ---


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([order(1)], [(1, None)]),
        ([order(1), order(3, "CANCELLATION", status="CANCELED")], [(1, 3)]),
        ([order(1), order(2, "UPDATE", size_matched=4.0), order(5, "CANCELLATION")], [(1, 5)]),
        ([order(1), order(2, "UPDATE", size_matched=10.0)], [(1, 2)]),
        ([order(1), order(2, "UPDATE", status="MATCHED")], [(1, 2)]),
        ([order(1), order(2, "UPDATE", status="CANCELED_too late")], [(1, 2)]),
        ([order(2, "UPDATE", size_matched=4.0)], [(2, None)]),
        ([order(1), order(2, name="b"), order(3, "CANCELLATION")], [(1, 3), (2, None)]),
        ([order(1, "CANCELLATION", size_matched=None)], []),
        ([order(1, status="MATCHED", size_matched=10.0)], []),
        ([order(1, token_id="2")], []),
    ],
)
def test_an_order_rests_from_its_placement_until_it_is_cancelled_or_filled(
    messages: list[dict[str, object]], expected: list[tuple[float, float | None]]
) -> None:
    assert lives(own(messages)) == expected


def test_an_order_tells_its_price_and_its_side() -> None:
    found = own([order(1), order(2, name="b", side="sell", price=0.7)])["orders"]

    assert found[:, [PRICE, BUYS]].tolist() == [[0.4, 1.0], [0.7, 0.0]]


@pytest.mark.parametrize(
    ("gaps", "more", "expected"),
    [
        ([gap(3, 4, None)], [], [(1, 3)]),
        ([gap(3, None, None)], [], [(1, 3)]),
        ([gap(3, 4, None, conn=8)], [], [(1, None)]),
        ([gap(3, 4, "1")], [], [(1, None)]),
        ([gap(0.5, 0.9, None)], [], [(1, None)]),
        ([gap(3, 4, None)], [order(5, "UPDATE", size_matched=2.0, conn=9)], [(1, 3), (5, None)]),
        ([gap(3, 4, None)], [order(5, "CANCELLATION", conn=9)], [(1, 3)]),
        ([gap(3, 4, None), gap(6, 7, None, conn=9)], [order(5, "UPDATE", conn=9)], [(1, 3), (5, 6)]),
    ],
)
def test_an_order_whose_connection_was_lost_is_known_up_to_then(
    gaps: list[dict[str, object]], more: list[dict[str, object]], expected: list[tuple[float, float | None]]
) -> None:
    assert lives(own([order(1), *more], gaps=gaps)) == expected


kinds = st.sampled_from(["PLACEMENT", "UPDATE", "CANCELLATION"])
stories = st.lists(st.tuples(st.sampled_from("abc"), kinds, st.sampled_from([0.0, 4.0, 10.0])), max_size=12)


@examples(40)
@given(stories, st.integers(0, 12), st.none() | st.integers(0, 12))
def test_orders_are_the_same_however_messages_come(
    story: list[tuple[str, str, float]], cut: int, lost: int | None
) -> None:
    messages = rows(
        "user_orders", [order(at, kind, name, size_matched=size) for at, (name, kind, size) in enumerate(story)]
    )
    gaps = rows("gaps", [] if lost is None else [gap(lost + 0.5, None, None)])
    whole = Own("1").take(messages, NOTHING["user_trades"], gaps)["orders"]

    parts = Own("1")
    found = [parts.take(messages[:cut], NOTHING["user_trades"], gaps)["orders"]]
    found.append(parts.take(messages[cut:], NOTHING["user_trades"], gaps)["orders"])

    times = (whole[:, SINCE], latest(np.concatenate(found))[:, SINCE])
    assert times[0].tolist() == times[1].tolist() or lost is not None
    if lost is None:
        np.testing.assert_array_equal(latest(np.concatenate(found)), latest(whole))


# --- fills ---


def fills(view: OwnView) -> list[list[float]]:
    """List when, how many, at which price, whether it was bought, and whether it failed."""
    return latest(view["fills"])[:, 1:].tolist()


def test_what_the_user_took_is_a_fill_at_the_price_of_the_trade_once_however_often_it_is_told() -> None:
    told = [fill(1), fill(2, status="MINED"), fill(3, status="CONFIRMED"), fill(4, "u", side="sell", price=0.5)]

    assert fills(own(trades=told)) == [[1000, 5, 0.4, 1, 0], [4000, 5, 0.5, 0, 0]]


def test_what_others_took_from_the_user_is_a_fill_of_his_own_orders_at_their_prices() -> None:
    made = fill(2, trader_side="MAKER", token_id="2", maker_orders=[maker("x"), maker("a"), maker("b", token_id="2")])

    found = own([order(1), order(1, name="b", token_id="2")], [made])

    assert fills(found) == [[2000, 3, 0.6, 0, 0]]
    assert fills(own([order(1, name="b", token_id="2")], [made])) == []


def test_a_trade_with_one_maker_is_the_user_s_whether_or_not_his_order_is_known() -> None:
    assert fills(own(trades=[fill(2, trader_side="MAKER", maker_orders=[maker("x")])])) == [[2000, 3, 0.6, 0, 0]]


@pytest.mark.parametrize("status", ["FAILED", "TRADE_STATUS_FAILED"])
def test_a_fill_that_failed_to_settle_says_so(status: str) -> None:
    own = Own("1")
    first = own.take(NOTHING["user_orders"], rows("user_trades", [fill(1)]), NOTHING["gaps"])
    then = own.take(NOTHING["user_orders"], rows("user_trades", [fill(9, status=status)]), NOTHING["gaps"])

    assert latest(np.concatenate([first["fills"], then["fills"]]))[:, [SINCE, FAILED]].tolist() == [[1000, 1]]


def test_nothing_is_told_where_there_is_nothing_or_nothing_new() -> None:
    own = Own("1")
    first = own.take(rows("user_orders", [order(1)]), rows("user_trades", [fill(1)]), NOTHING["gaps"])
    then = own.take(NOTHING["user_orders"], NOTHING["user_trades"], NOTHING["gaps"])

    assert [first["orders"].shape, first["fills"].shape] == [(1, 5), (1, 6)]
    assert [then["orders"].shape, then["fills"].shape] == [(0, 5), (0, 6)]


# --- charts ---


def test_own_orders_and_fills_are_drawn_with_their_sides() -> None:
    view: PriceView = price_view(
        NOTHING["prices"], NOTHING["trades"], NOTHING["gaps"], token_id="1", label="A", now_ms=9000.0
    )
    its = own([order(1), order(2, name="b", side="sell")], [fill(3), fill(4, "u", side="sell", status="FAILED")])
    axes = new_figure()[1][0]
    before = len(axes.lines)

    PricePlot(axes).update({**view, **its})

    drawn = [line for line in axes.lines[before:] if line.get_markersize() == 10]
    said = [(line.get_marker(), line.get_fillstyle(), len(np.asarray(line.get_xdata()))) for line in drawn]
    assert said == [("^", "full", 1), ("^", "none", 0), ("v", "full", 0), ("v", "none", 1)]
    assert [len(each.get_paths()) for each in axes.collections if isinstance(each, LineCollection)] == [1, 1]


def test_an_own_order_that_rested_an_instant_is_drawn_as_long_as_can_be_seen() -> None:
    view: PriceView = price_view(
        NOTHING["prices"], NOTHING["trades"], NOTHING["gaps"], token_id="1", label="A", now_ms=9000.0
    )
    its = own([order(1), order(1.001, "CANCELLATION")])
    axes = new_figure()[1][0]

    PricePlot(axes).update({**view, **its})

    (mark,) = [line for line in axes.lines if line.get_marker() == "_" and len(np.asarray(line.get_xdata()))]
    assert mark.get_markersize() >= 8
    assert np.asarray(mark.get_ydata()).tolist() == its["orders"][:, 3].tolist()


def shown(chart: object) -> dict[str, Numbers]:
    """Return what is drawn."""
    return getattr(chart, "_last_view")  # noqa: B009  # nobody else asks for it


def matrix(numbers: Sequence[float], columns: int) -> Numbers:
    return latest(np.array(numbers).reshape(-1, columns))


@pytest.mark.parametrize("make", [PriceChart, image.PriceChart])
def test_where_there_are_no_own_orders_there_are_no_rows_of_them(make: Callable[[Manager], Any]) -> None:
    with sample(paused=True) as replay:
        view = shown(make(replay))
        assert [len(view["orders"]), len(view["fills"])] == [0, 0]


def test_the_recording_s_own_orders_are_in_its_chart() -> None:
    with sample() as replay:
        placed = replay.user_orders.filter(pl.col("type") == "PLACEMENT")
        for token_id, its in placed.group_by("token_id"):
            view = shown(PriceChart(replay, str(token_id[0])))
            assert view["orders"][:, PRICE].tolist() == its["price"].to_list()


def test_a_chart_shows_the_orders_and_fills_of_the_user_s_channel(page: Page) -> None:
    with SimulatedVenue(markets=1, rate=50) as sim:
        given = sim.credentials
        keys = pm.Credentials(api_key=given.api_key, secret=given.secret, passphrase=given.passphrase)
        with Manager(address(sim), credentials=keys, policy=QUICK) as manager:
            market = sim.markets[0]
            manager.watch(market.slug)
            manager.subscribe_user_orders()
            manager.subscribe_user_trades()
            charts = [PriceChart(manager, token, rate=30) for token in market.token_ids]
            for chart in charts:
                page.of(chart).say(kind="here", view="a")
            wait_until(lambda: manager.report().connections.clob.authenticated)  # pyright: ignore[reportAttributeAccessIssue]
            sim.user_order(market, "cancelled")
            for _ in range(3):
                sim.user_order(market, "filled")

            wait_until(lambda: manager.user_orders.filter(pl.col("type") != "PLACEMENT").height >= 4)
            wait_until(lambda: manager.user_trades["id"].n_unique() == 3)
            wait_until(lambda: sum(len(followed(page, chart).arrays["fills"]) for chart in charts) >= 3 * 6)
            wait_until(lambda: not any(np.isnan(resting(page, chart)).any() for chart in charts))

            for chart, token in zip(charts, market.token_ids, strict=True):
                there = followed(page, chart).arrays
                placed = manager.user_orders.filter(pl.col("token_id") == token, pl.col("type") == "PLACEMENT")
                assert matrix(there["orders"], 5)[:, PRICE].tolist() == placed["price"].to_list()
                filled = manager.user_trades.filter(pl.col("token_id") == token).unique("id", maintain_order=True)
                assert matrix(there["fills"], 6)[:, PRICE].tolist() == filled["price"].to_list()


def resting(page: Page, chart: PriceChart) -> Numbers:
    return matrix(followed(page, chart).arrays["orders"], 5)[:, END]
