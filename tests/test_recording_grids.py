"""Books, prices and bars on a grid: what was there at the end of each interval, and nothing where nothing was."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.night import MS, NOON, Night
from support.taping import TOKENS, told
from support.venue import Venue
from test_recording_moments import cut_night, known

import pmlive as pm
from pmlive.recording import RecordedBook
from pmlive.recording.grids import Changes, Grid, Ladders, Resets, bars, depth

S = 1_000_000_000


def compared(row: dict[str, object], book: RecordedBook, levels: int) -> None:
    sides = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    if book.levels is None:
        assert row["quality"] == "stale"
        assert [row[side] for side in sides] == [None] * 4
        return
    assert row["quality"] == book.quality
    for side, name in ((book.bids, "bid"), (book.asks, "ask")):
        assert row[f"{name}_prices"] == [price for price, _ in side[:levels]]
        assert row[f"{name}_sizes"] == [size for _, size in side[:levels]]


def starts(frame: pl.DataFrame) -> list[int]:
    return cast("list[int]", frame["time"].dt.epoch("ns").to_list())


@pytest.mark.quick(1)
@pytest.mark.parametrize("seed", range(6))
def test_depth_is_the_book_at_the_end_of_each_interval(seed: int) -> None:
    opened = known(cut_night(Random(seed), steps=40, cuts=2))

    for token in TOKENS:
        frame = depth(opened, token, Grid(opened, 7 * S, None, None), 3)
        for row, start in zip(frame.iter_rows(named=True), starts(frame), strict=True):
            compared(row, opened.book_at(token, start + 7 * S - 1), 3)


def test_depth_may_begin_anywhere(tmp_path: Path) -> None:
    logged = told(tmp_path / "night", 5)
    night = pm.open_recording(tmp_path / "night")
    middle = logged[len(logged) // 2].recv

    frame = night.depth("21", "500ms", 2, start=middle, end=middle + 20 * S)

    assert frame.height in (40, 41)
    for row, start in zip(frame.iter_rows(named=True), starts(frame), strict=True):
        compared(row, night.book_at("21", start + S // 2 - 1), 2)


@pytest.mark.parametrize("start", [None, "2030-01-01T00:00:00Z"])
def test_ladders_of_several_books_can_be_told_apart(start: str | None) -> None:
    night = pm.open_recording(pm.sample())
    market = night.markets[0]

    frames = [night.depth(market.slug, "5s", outcome=name, start=start) for name in market.outcomes]

    whole, labels = pl.concat(frames), ("token_id", "slug", "outcome")
    lists = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    assert whole.columns == ["time", "quality", *lists, *labels]
    assert whole.select(labels).schema == night.prices(every="5s").select(labels).schema
    assert whole.select(labels).schema == night.bars(every="5s").select(labels).schema
    named = [(token, market.slug, name) for token, name in zip(market.token_ids, market.outcomes, strict=True)]
    told = list(whole.select(labels).iter_rows())
    assert told == [name for name, frame in zip(named, frames, strict=True) for _ in range(frame.height)]
    assert (whole.height > 30) == (start is None)


def test_a_token_without_a_book_has_stale_rows_with_its_name() -> None:
    opened = known(cut_night(Random(0), steps=5, cuts=1))

    frame = depth(opened, "no such token", Grid(opened, 7 * S, None, None), 3)

    assert frame.height > 0
    assert frame.select("quality", "token_id").unique().rows() == [("stale", "no such token")]


def test_prices_on_a_grid_are_the_tops_of_the_books(tmp_path: Path) -> None:
    told(tmp_path / "night", 6)
    night = pm.open_recording(tmp_path / "night")

    for token in TOKENS:
        tops, books = night.prices(token, "3s"), night.depth(token, "3s", 1)
        assert tops["best_bid"].to_list() == books["bid_prices"].list.first().to_list()
        assert tops["best_ask_size"].to_list() == books["ask_sizes"].list.first().to_list()
        one_sided = tops.filter(pl.col("best_bid").is_null() | pl.col("best_ask").is_null())
        assert one_sided["mid"].null_count() == one_sided.height
    assert night.prices(every=timedelta(seconds=3)).filter(pl.col("token_id") == "12").equals(night.prices("12", "3s"))
    assert night.prices("11").equals(night.scan("prices", token="11", labels=True).collect())


def test_a_side_that_is_empty_is_null_and_an_empty_list(tmp_path: Path) -> None:
    night, venue = Night(), Venue()
    for price in ("0.60", "0.59", "0.58"):
        venue.put("ask", price, "0", 0)
    night.open(0, 1, ["1"])
    night.frame(10, venue.opening())
    night.end(2500)
    opened = known([night.records])

    frame = depth(opened, "1", Grid(opened, S, None, None), 5)

    assert frame["ask_prices"].to_list() == [[], [], None]
    book = opened.book_at("1", NOON + 20 * MS)
    assert (book.best_ask, book.mid, book.spread) == (None, None, None)
    assert tmp_path.exists()


def test_bars_are_left_closed_and_empty_ones_have_no_price() -> None:
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(0, venue.opening())
    for at, price in ((0, "0.42"), (999, "0.5"), (1000, "0.44"), (1500, "0.41"), (3000, "0.43")):
        night.frame(at, venue.trade(price, at))
    night.frame(4200, '{"market": "0xm", "price_')
    night.end(6000)
    opened = known([night.records])

    frame = bars(opened, "1", Grid(opened, S, None, NOON + 6 * S))

    assert frame.select("open", "high", "low", "close", "volume", "trades").rows() == [
        (0.42, 0.5, 0.42, 0.5, 5.0, 2),
        (0.44, 0.44, 0.41, 0.41, 5.0, 2),
        (None, None, None, None, 0.0, 0),
        (0.43, 0.43, 0.43, 0.43, 2.5, 1),
        (None, None, None, None, 0.0, 0),
        (None, None, None, None, 0.0, 0),
    ]
    # The frame that was no message may have been a trade, sent after the one before it, and no book came since.
    assert frame["touched"].to_list() == [False, False, False, True, True, True]


def test_bars_that_a_gap_touches_say_so() -> None:
    night = pm.open_recording(pm.sample())
    token = night.markets[0].token_ids[0]

    frame = night.bars(token, "5s")

    gap = night.gaps.filter(pl.col("token_id") == token).row(0, named=True)
    over = (pl.col("time") < gap["ended"]) & (pl.col("time") + timedelta(seconds=5) > gap["started"])
    edges = (frame["time"] == frame["time"].min()) | (frame["time"] == frame["time"].max())
    assert frame.filter(over)["touched"].all()
    assert not frame.filter(~over & ~edges)["touched"].any()


def test_intervals_and_levels_that_are_none_are_refused() -> None:
    night = pm.open_recording(pm.sample())
    token = night.markets[0].token_ids[0]

    for every, problem in (
        ("1 second", "invalid interval"),
        ("0s", "longer than nothing"),
        ("1s2", "invalid interval"),
    ):
        with pytest.raises(ValueError, match=problem):
            night.bars(token, every)
    with pytest.raises(ValueError, match="levels must be 1 or more"):
        night.depth(token, levels=0)
    with pytest.raises(ValueError, match="intervals are too many"):
        night.bars(token, "1ms", start=0)


changes = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 99), st.integers(0, 3), st.booleans()), max_size=60
)


@given(changes, st.sampled_from((100, 100.0001)), st.lists(st.integers(0, 60), max_size=5))
def test_ladders_are_a_dictionary_of_the_last_size_at_each_price(
    told: Sequence[tuple[int, bool, int, int, bool]], scale: float, stops: Sequence[int]
) -> None:
    given_ = Changes(
        np.array([change[0] for change in told], dtype=np.int64),
        np.array([change[1] for change in told], dtype=np.bool_),
        np.array([change[2] for change in told], dtype=np.float64) / scale,
        np.array([change[3] for change in told], dtype=np.float64),
    )
    where = np.flatnonzero(np.array([change[4] for change in told], dtype=np.bool_))
    books = Ladders(given_, Resets(where, given_.token[where]), tokens=3)
    model: dict[tuple[int, bool], dict[float, float]] = {
        (token, side): {} for token in range(3) for side in (True, False)
    }

    done = 0
    for stop in sorted(min(stop, len(told)) for stop in stops):
        for token_, bid_, tick_, size_, reset_ in told[done:stop]:
            if reset_:
                model[token_, True], model[token_, False] = {}, {}
            model[token_, bid_][tick_ / scale] = size_
        done = stop
        books.advance(stop)
        prices, sizes = books.best(4)
        for (token_, side), levels in model.items():
            best = sorted((level for level in levels.items() if level[1]), reverse=side)[:4]
            row = 2 * token_ + (not side)
            assert prices[row][~np.isnan(prices[row])].tolist() == [price for price, _ in best]
            assert sizes[row][~np.isnan(sizes[row])].tolist() == [size for _, size in best]
