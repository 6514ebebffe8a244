"""Intervals of a recording that a gap touches: measured without it, flagged or left out."""

from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from support.night import MS, NOON, Night
from support.taping import TOKENS, told
from support.venue import Venue
from test_recording_moments import cut_night, known

import pmlive as pm
from pmlive.analysis import trade_bars
from pmlive.recording.grids import Grid, bars, sampled_prices
from pmlive.recording.index import RecordingIndex

S = 1_000_000_000


def interrupted() -> RecordingIndex:
    """Tell of a token that was lost from 1.4 s to 2.1 s and from 3 s to 4 s."""
    night, venue = Night(), Venue()
    night.open(0, 1, ["1"])
    night.frame(0, venue.opening())
    night.frame(1200, venue.trade("0.50", 1200))
    night.frame(1300, venue.change("bid", "0.44", "20", 1300))
    night.close(1400, 1)
    night.open(1500, 2, ["1"], old=1)
    night.frame(1600, venue.trade("0.90", 1600), conn=2)
    night.frame(2100, venue.opening(), conn=2)
    night.frame(2200, venue.trade("0.51", 2200), conn=2)
    night.close(3000, 2)
    night.open(3100, 3, ["1"], old=2)
    night.frame(4000, venue.opening(), conn=3)
    night.frame(4500, venue.trade("0.52", 4500), conn=3)
    night.end(5000)
    return known([night.records])


def test_a_bar_without_the_time_of_a_gap_has_the_trades_that_came_outside() -> None:
    index = interrupted()
    grid = Grid(index, S, None, NOON + 5 * S)
    gaps = index.gaps.of("1")

    found = bars(index, "1", grid, gaps="exclude")

    spans = [(gap.started - NOON, gap.until - NOON) for gap in gaps]
    free = [sum(not any(a <= at * MS < b for a, b in spans) for at in range(s, s + 1000)) for s in range(0, 5000, 1000)]
    assert found["covered"].to_list() == pytest.approx([share / 1000 for share in free])
    assert found["covered"].to_list()[0] == 1.0
    assert found.select("time", "volume", "trades", "close").rows()[1][1:] == (2.5, 1, 0.5)
    assert found["volume"].to_list() == [0.0, 2.5, 2.5, None, 2.5]
    assert found["touched"].to_list() == bars(index, "1", grid)["touched"].to_list()


def test_a_bar_that_a_gap_touches_is_flagged_or_left_out_if_that_is_asked_for() -> None:
    index = interrupted()
    grid = Grid(index, S, None, NOON + 5 * S)
    usual = bars(index, "1", grid)

    flagged, dropped = (bars(index, "1", grid, gaps=each) for each in ("flag", "drop"))

    assert usual["volume"].to_list() == [0.0, 5.0, 2.5, 0.0, 2.5]
    assert flagged["volume"].to_list() == [0.0, None, None, None, 2.5]
    assert flagged.columns == usual.columns == dropped.columns
    assert dropped.equals(usual.filter(~pl.col("touched")))


def test_prices_of_an_interval_are_the_last_that_could_be_trusted() -> None:
    index = interrupted()
    grid = Grid(index, S, None, NOON + 6 * S)

    usual, excluded, dropped = (sampled_prices(index, "1", grid, gaps=each) for each in ("flag", "exclude", "drop"))

    assert usual["best_bid"].to_list() == [0.42, None, None, None, 0.44, None]
    # The recording ends with the first instant of the last interval.
    assert excluded["best_bid"].to_list() == [0.42, 0.44, 0.44, None, 0.44, 0.44]
    assert excluded["covered"][-1] == 1e-9
    assert excluded["covered"].to_list() == bars(index, "1", grid, gaps="exclude")["covered"].to_list()
    assert dropped.equals(usual.filter(pl.col("best_bid").is_not_null()))


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_the_instants_at_which_books_answer(seed: int) -> None:
    index = known(cut_night(Random(seed), steps=12, cuts=1))
    grid = Grid(index, 60 * S, None, None)
    token = TOKENS[seed]

    found = sampled_prices(index, token, grid, gaps="exclude")

    for start, share, bid in zip(grid.starts.tolist(), found["covered"], found["best_bid"], strict=True):
        books = [index.book_at(token, start + at * S) for at in range(1, 60, 2)]
        trusted = [book for book in books if book.levels is not None]
        assert share == pytest.approx(len(trusted) / 30, abs=0.1)
        if books[-1].levels is not None:
            last = index.book_at(token, start + 60 * S - 1)
            assert last.levels is None or last.best_bid == bid


def test_every_token_of_a_sample_is_as_its_gaps_say() -> None:
    night = pm.open_recording(pm.sample("evening"))
    trades = night.scan("trades").collect()

    found = night.bars(every="10m", gaps="exclude").filter(pl.col("covered") > 0)

    expected = trade_bars(trades, "10m", gaps=night.gaps, touched="exclude")
    both = found.join(expected, left_on=["token_id", "time"], right_on=["token_id", "start"], suffix="_by_frames")
    # A recording also knows when it began and ended.
    inner = both.filter(pl.col("time").is_between(both["time"].min(), both["time"].max(), closed="none"))
    assert inner.height > 40
    assert inner["covered"].min() != 1.0
    for name in ("covered", "volume", "close", "trades"):
        assert np.allclose(inner[name].cast(pl.Float64), inner[f"{name}_by_frames"].cast(pl.Float64), equal_nan=True)


def test_a_word_that_is_none_and_gaps_without_intervals_are_refused(tmp_path: Path) -> None:
    told(tmp_path / "night", 6)
    night = pm.open_recording(tmp_path / "night")

    with pytest.raises(ValueError, match="invalid gaps 'fill'"):
        night.bars(gaps="fill")  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match="invalid gaps 'fill'"):
        night.prices(every="1s", gaps="fill")  # pyright: ignore[reportArgumentType]  # what is tested
    with pytest.raises(ValueError, match="expected every"):
        night.prices(gaps="exclude")


def test_an_empty_recording_and_an_unknown_token_have_empty_frames() -> None:
    index = known([])

    for gaps in ("exclude", "flag", "drop"):
        assert sampled_prices(index, None, Grid(index, S, None, None), gaps=gaps).height == 0
        assert bars(index, None, Grid(index, S, None, None), gaps=gaps).height == 0
        assert bars(index, "1", Grid(index, S, None, None), gaps=gaps).height == 0
