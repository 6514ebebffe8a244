"""What charts and tables show, from frames that are written down here."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from support.status import subscription

from pmlive.integrity import Counts
from pmlive.manager import BookView
from pmlive.manager.ingest import ClobConnection, Connections, ReplayStatus
from pmlive.manager.subscriptions import BackgroundTask, BookCounts, Statistics, Status, Subscriptions
from pmlive.replay import Speed
from pmlive.store import RecorderStatus
from pmlive.tables import SCHEMAS
from pmlive.widgets.views import (
    append_prices,
    append_slices,
    depth_view,
    first_of,
    heat_view,
    interruptions,
    price_view,
    recording_view,
    status_view,
    tape_view,
)

S = 1_000_000_000
MS = 1_000_000


def rows(table: str, given: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Make rows of a table from what matters of them."""
    schema = SCHEMAS[table]
    columns = {
        name: pl.Series(name, [row.get(name) for row in given], dtype=dtype, strict=False)
        for name, dtype in schema.items()
    }
    return pl.DataFrame(columns)


def price(at: float, bid: float | None, ask: float | None, token: str = "1") -> dict[str, object]:
    mid = None if bid is None or ask is None else (bid + ask) / 2
    return {
        "ts_event": int(at * S),
        "ts_recv": int(at * S) + 20 * MS,
        "token_id": token,
        "best_bid": bid,
        "best_ask": ask,
        "mid": mid,
    }


def trade(at: float, paid: float, side: str = "buy", token: str = "1") -> dict[str, object]:
    return {"ts_recv": int(at * S), "token_id": token, "price": paid, "size": 5.0, "side": side}


def gap(
    started: float, ended: float | None, token: str | None = "1", *, conn: int = 7, cause: str = "disconnect"
) -> dict[str, object]:
    end = None if ended is None else int(ended * S)
    return {"started": int(started * S), "ended": end, "token_id": token, "conn": conn, "cause": cause, "detail": "x"}


def ladder(at: float, bids: Sequence[tuple[float, float]], asks: Sequence[tuple[float, float]]) -> dict[str, object]:
    return {
        "ts_recv": int(at * S),
        "token_id": "1",
        "bid_prices": [level[0] for level in bids],
        "bid_sizes": [level[1] for level in bids],
        "ask_prices": [level[0] for level in asks],
        "ask_sizes": [level[1] for level in asks],
    }


def book(bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> BookView:
    now = datetime.now(UTC)
    return BookView(
        token_id="1", market="0xm", label="A", bids=bids, asks=asks, state="verified", ts_event=now, ts_recv=now
    )


NO_TRADES, NO_GAPS, NO_PRICES = rows("trades", []), rows("gaps", []), rows("prices", [])


# --- price ---


def test_of_more_than_can_be_shown_the_newest_is() -> None:
    many = 50_010
    prices = rows("prices", [price(at, 0.4, 0.5) for at in range(many)])
    trades = rows("trades", [trade(at, 0.5) for at in range(5_010)])
    gaps = rows("gaps", [gap(at, at + 0.5) for at in range(210)])

    view = price_view(prices, trades, gaps, token_id="1", label="A", now_ms=0.0)

    assert (len(view["times"]), view["times"][-1]) == (50_000, (many - 1) * 1000 + 20)
    assert (len(view["trade_times"]), view["trade_times"][-1]) == (5_000, 5_009_000)
    assert (len(view["gap_starts"]), view["gap_starts"][-1], len(view["gap_causes"])) == (200, 209_000, 200)


def test_prices_of_the_token_are_shown_at_the_times_they_were_received() -> None:
    prices = rows("prices", [price(1, 0.4, 0.6), price(2, 0.1, 0.2, token="2"), price(3, 0.5, 0.6)])

    view = price_view(prices, NO_TRADES, NO_GAPS, token_id="1", label="A", now_ms=4000.0)

    assert view["times"].tolist() == [1020.0, 3020.0]
    assert view["bids"].tolist() == [0.4, 0.5]
    assert view["mids"].tolist() == [0.5, 0.55]
    assert (view["label"], view["now"], view["doubt"]) == ("A", 4000.0, "")


def test_an_empty_side_has_no_price_and_no_middle() -> None:
    prices = rows("prices", [price(1, None, 0.6), price(2, None, None)])

    view = price_view(prices, NO_TRADES, NO_GAPS, token_id="1", label="A", now_ms=3000.0)

    assert np.isnan(view["bids"]).all()
    assert np.isnan(view["mids"]).all()
    assert view["asks"][0] == 0.6
    assert math.isnan(view["asks"][1])


def test_trades_are_marks_that_tell_who_took() -> None:
    trades = rows("trades", [trade(1, 0.4), trade(2, 0.5, "sell"), trade(3, 0.9, token="2")])

    view = price_view(NO_PRICES, trades, NO_GAPS, token_id="1", label="A", now_ms=3000.0)

    assert view["trade_times"].tolist() == [1000.0, 2000.0]
    assert view["trade_prices"].tolist() == [0.4, 0.5]
    assert view["trade_buys"].tolist() == [1.0, 0.0]


def test_gaps_of_the_token_and_of_everything_are_shaded_and_an_open_one_has_no_end() -> None:
    gaps = rows(
        "gaps",
        [
            gap(1, 2),
            gap(2, 3, token="2"),
            gap(3, 4, token=None, conn=9),  # a connection; the token has a gap of its own if it was on it
            gap(5, 6, token=None, conn=0, cause="disk"),
            gap(7, None, cause="mismatch"),
        ],
    )

    view = price_view(NO_PRICES, NO_TRADES, gaps, token_id="1", label="A", now_ms=9000.0)

    assert view["gap_starts"].tolist() == [1000.0, 5000.0, 7000.0]
    assert view["gap_ends"][:2].tolist() == [2000.0, 6000.0]
    assert math.isnan(view["gap_ends"][2])
    assert view["gap_causes"] == ["disconnect", "disk", "mismatch"]


def test_a_view_of_what_is_new_continues_the_view_before() -> None:
    prices = rows("prices", [price(at, 0.4, 0.6) for at in range(6)])

    whole = price_view(prices, NO_TRADES, NO_GAPS, token_id="1", label="A", now_ms=0.0)
    parts = [
        price_view(part, NO_TRADES, NO_GAPS, token_id="1", label="A", now_ms=0.0)
        for part in (prices[:2], prices[2:2], prices[2:])
    ]

    continued = append_prices(append_prices(parts[0], parts[1], most=10), parts[2], most=10)
    assert continued["times"].tolist() == whole["times"].tolist()
    assert append_prices(parts[0], parts[2], most=5)["mids"].tolist() == whole["mids"].tolist()[-5:]


# --- depth ---


def test_cumulative_depth_sums_from_the_best_price_on() -> None:
    view = depth_view(book([(0.4, 10.0), (0.3, 5.0)], [(0.6, 1.0), (0.7, 2.0), (0.9, 4.0)]), label="A")

    assert view["bid_totals"].tolist() == [10.0, 15.0]
    assert view["ask_totals"].tolist() == [1.0, 3.0, 7.0]
    assert (view["mid"], view["spread"], view["state"]) == (0.5, 0.2, "verified")


def test_a_book_with_an_empty_side_has_no_middle() -> None:
    view = depth_view(book([], [(0.6, 1.0)]), label="A")

    assert view["mid"] is None
    assert view["spread"] is None
    assert len(view["bid_prices"]) == len(view["bid_totals"]) == 0


def test_a_book_that_cannot_be_trusted_shows_nothing_but_the_reason() -> None:
    view = depth_view(None, label="A", doubt="lost since noon")

    assert view["doubt"] == "lost since noon"
    assert (view["state"], view["mid"], len(view["ask_prices"])) == ("stale", None, 0)


# --- heat ---


def test_a_slice_shows_the_book_as_it_was_last_in_it() -> None:
    depth = rows(
        "depth",
        [
            ladder(1.1, [(0.4, 1.0)], [(0.6, 2.0)]),
            ladder(1.3, [(0.4, 9.0), (0.3, 8.0)], []),
            ladder(2.0, [(0.5, 3.0)], [(0.7, 4.0)]),
        ],
    )

    view = heat_view(depth, NO_GAPS, token_id="1", label="A", now_ms=3000.0, slice_ms=500)

    assert view["times"].tolist() == [1000.0, 2000.0]
    assert view["prices"].shape == view["sizes"].shape == (2, 20)
    assert view["prices"][0][:3].tolist()[:2] == [0.4, 0.3]
    assert np.isnan(view["prices"][0][2:]).all()
    assert view["sizes"][0][:2].tolist() == [9.0, 8.0]
    assert (view["prices"][1][10], view["sizes"][1][10]) == (0.7, 4.0)


def test_a_slice_is_of_the_token_among_others() -> None:
    other = ladder(1, [(0.1, 1.0)], [(0.9, 1.0)]) | {"token_id": "2"}
    its = ladder(1.1, [(0.4, 7.0)], [(0.6, 8.0)])

    view = heat_view(rows("depth", [other, its, other]), NO_GAPS, token_id="1", label="A", now_ms=3000.0)

    assert view["prices"][:, [0, 10]].tolist() == [[0.4, 0.6]]
    assert view["sizes"][:, [0, 10]].tolist() == [[7.0, 8.0]]


def test_a_slice_that_comes_again_replaces_the_one_before() -> None:
    before, new, later = (
        heat_view(
            rows("depth", [ladder(at, [(bid, 1.0)], []) for at, bid in some]),
            NO_GAPS,
            token_id="1",
            label="A",
            now_ms=3000.0,
        )
        for some in ([(1.0, 0.3), (2.1, 0.4)], [(2.2, 0.5), (2.6, 0.6)], [(4.0, 0.7)])
    )

    view = append_slices(append_slices(before, new, most=10), later, most=10)

    assert view["times"].tolist() == [1000.0, 2000.0, 2500.0, 4000.0]
    assert view["prices"][:, 0].tolist() == [0.3, 0.5, 0.6, 0.7]
    assert append_slices(before, new, most=2)["times"].tolist() == [2000.0, 2500.0]


def test_the_first_ladder_of_a_token_is_found() -> None:
    other = ladder(1, [(0.1, 1.0)], []) | {"token_id": "2"}
    depth = rows("depth", [other, ladder(1.5, [], []), ladder(2, [], [])])

    assert first_of(depth, "1") == 1_500_000_000
    assert first_of(depth, "3") is None


def test_no_book_makes_no_slice() -> None:
    view = heat_view(rows("depth", []), NO_GAPS, token_id="1", label="A", now_ms=3000.0)

    assert view["times"].shape == (0,)
    assert view["prices"].shape == (0, 20)


def test_an_empty_book_makes_an_empty_slice() -> None:
    view = heat_view(rows("depth", [ladder(1, [], [])]), NO_GAPS, token_id="1", label="A", now_ms=3000.0)

    assert np.isnan(view["prices"]).all()
    assert view["times"].tolist() == [1000.0]


# --- tape ---


def test_the_tape_shows_the_newest_trade_first_under_its_label() -> None:
    trades = rows("trades", [trade(1, 0.4), trade(2, 0.5, "sell", token="2"), trade(3, 0.6, token="9" * 77)])

    view = tape_view(trades, {"1": "A - Yes", "2": "B - No"})

    assert view["labels"] == ["token 999999…999999", "B - No", "A - Yes"]
    assert view["times"] == ["00:00:03", "00:00:02", "00:00:01"]
    assert view["sides"] == ["buy", "sell", "buy"]


def test_the_tape_of_one_token_shows_its_last_trades() -> None:
    trades = rows("trades", [trade(at, at / 10) for at in range(1, 6)] + [trade(6, 0.9, token="2")])

    view = tape_view(trades, {}, token_id="1", most=2)

    assert (view["prices"], view["times"]) == ([0.5, 0.4], ["00:00:05.000", "00:00:04.000"])


# --- status and recording ---


def told(*, replay: ReplayStatus | None = None) -> Status:
    return Status(
        connections=Connections(clob=ClobConnection(connected=True, url="ws://venue", open=1, sockets=2)),
        subscriptions=Subscriptions(total=1, by_type={"watch": 1}, active=[subscription()]),
        statistics=Statistics(total_events=500),
        background_task=BackgroundTask(running=True, task_exists=True),
        books=BookCounts(tokens=4, trusted=3, open_gaps=1, checks=Counts(hash_verified=7, bbo_mismatch=2)),
        replay=replay,
    )


def test_status_tells_rate_and_lag() -> None:
    prices = rows("prices", [price(1, 0.4, 0.6), price(2, 0.4, 0.6)])

    view = status_view(told(), NO_GAPS, prices, now_ns=10 * S, before=(5 * S, 400))

    assert view["rate"] == 20.0
    assert view["lag"] == 0.02
    assert (view["trusted"], view["tokens"], view["mismatches"]) == (3, 4, 2)


@pytest.mark.parametrize("before", [None, (10 * S, 400), (12 * S, 400), (5 * S, 900)])
def test_no_rate_is_told_without_an_earlier_count_or_after_a_jump(before: tuple[int, int] | None) -> None:
    view = status_view(told(), NO_GAPS, NO_PRICES, now_ns=10 * S, before=before)

    assert view["rate"] is None
    assert view["lag"] is None


def test_status_names_the_gap_that_began_last() -> None:
    gaps = rows("gaps", [gap(70, None, cause="mismatch"), gap(1, 2)])

    view = status_view(told(), gaps, NO_PRICES, now_ns=100 * S)

    assert view["last_gap"] == "mismatch, 00:01:10 to now, 1 book"
    assert (view["gaps"], view["open_gaps"]) == (2, 1)


CUT = [gap(10, 14, None), *(gap(10, 14 + token, str(token)) for token in range(1, 5))]


@pytest.mark.parametrize(
    ("told_of", "counted"),
    [
        (CUT, [("disconnect", 10, 18, 4)]),
        # A long one is written several times, at last with its end.
        ([*(gap(10, None, str(token)) for token in range(1, 5)), *CUT[1:]], [("disconnect", 10, 18, 4)]),
        ([*CUT[:2], gap(10, None, "2")], [("disconnect", 10, None, 2)]),
        # Another connection, and the same later.
        ([*CUT, gap(11, 12, "9", conn=8)], [("disconnect", 10, 18, 4), ("disconnect", 11, 12, 1)]),
        ([gap(1, 2, cause="silence"), gap(5, 6, cause="silence")], [("silence", 1, 2, 1), ("silence", 5, 6, 1)]),
        ([gap(1, 9, "1", cause="silence"), gap(5, 6, "2", cause="silence")], [("silence", 1, 9, 2)]),
        # What befell each token is no cut, nor is what the recorder did.
        (
            [gap(1, 3, "1", cause="mismatch"), gap(2, 4, "2", cause="mismatch")],
            [("mismatch", 1, 3, 1), ("mismatch", 2, 4, 1)],
        ),
        ([gap(5, 6, None, conn=0, cause="disk")], [("disk", 5, 6, 0)]),
        ([], []),
    ],
)
def test_a_cut_is_counted_once_however_many_books_it_concerns(
    told_of: list[dict[str, object]], counted: list[tuple[str, int, int | None, int]]
) -> None:
    found = interruptions(rows("gaps", told_of))

    seconds = found.with_columns(pl.col("started", "ended").dt.epoch("s"), pl.col("cause").cast(pl.String))
    assert seconds.rows() == counted


@pytest.mark.parametrize(
    ("speed", "paused", "finished", "said"),
    [
        (60.0, False, False, "replay, speed 60.0"),
        ("max", True, False, "replay, paused"),
        ("max", True, True, "replay, finished"),
    ],
)
def test_status_tells_how_a_replay_goes(speed: Speed, said: str, *, paused: bool, finished: bool) -> None:
    replay = ReplayStatus(position="", first="", last="", speed=speed, paused=paused, finished=finished, folders=[])
    assert status_view(told(replay=replay), NO_GAPS, NO_PRICES, now_ns=S)["playing"] == said


def test_the_recording_tells_what_was_written() -> None:
    recorder = RecorderStatus(
        folder="/home/somebody/tonight",
        rows={"prices": 5, "trades": 0},
        frames=9,
        bytes=100,
        files=2,
        segments=1,
        pending_bytes=3,
        lag=0.5,
        last_sync=None,
        dropped=0,
        trouble=None,
    )

    view = recording_view(recorder, free=1000)

    assert view["recording"]
    assert (view["folder"], view["rows"], view["free"]) == ("tonight", {"prices": 5}, 1000)


def test_without_a_recording_there_is_none() -> None:
    assert not recording_view(None)["recording"]
