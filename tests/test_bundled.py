"""The recordings that come with pmlive are what their README says of them."""

import csv
from pathlib import Path

import polars as pl
import pytest

import pmlive as pm

_UPDOWN = 16


@pytest.mark.parametrize("name", ["", "updown", pytest.param("evening", marks=pytest.mark.slow)])
def test_every_sample_opens_and_is_sound(name: str) -> None:
    night = pm.open_recording(pm.sample(name))

    assert night.verify().ok
    assert night.markets
    assert all(market.question and len(market.token_ids) == 2 for market in night.markets)


def test_a_sample_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample 'morning'; there are '', 'evening', 'updown'"):
        pm.sample("morning")


def test_the_samples_are_small() -> None:
    data = Path(pm.sample()).parent

    assert sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) < 3_200_000


def test_the_evening_is_an_hour_of_three_events_with_fees_and_gaps() -> None:
    night = pm.open_recording(pm.sample("evening"))

    events: dict[str, list[str]] = {}
    for market in night.markets:
        events.setdefault(market.event_slug, []).append(market.slug)
    assert sorted(map(len, events.values())) == [1, 2, 4]
    assert {market.neg_risk_augmented for market in night.markets if "games" in market.event_slug} == {True}
    assert {market.fees.rate for market in night.markets if market.fees and market.neg_risk} == {0.04}
    assert night.first_time is not None
    assert night.last_time is not None
    assert 3_590 < (night.last_time - night.first_time).total_seconds() <= 3_600
    gaps = night.gaps.with_columns(lasted=(pl.col("ended") - pl.col("started")).dt.total_seconds())
    assert set(gaps["cause"]) == {"disconnect", "mismatch"}
    assert gaps.filter(pl.col("cause") == "disconnect")["token_id"].drop_nulls().n_unique() == 14
    assert gaps["ended"].null_count() == 0


def test_the_calendar_of_the_evening_names_its_markets() -> None:
    folder = pm.sample("evening")
    with folder.with_suffix(".csv").open(encoding="utf-8") as file:
        news = list(csv.DictReader(file))

    assert len(news) == 27
    assert {one["market"] for one in news} <= {market.slug for market in pm.open_recording(folder).markets}
    assert {one["outcome"] for one in news} == {"Yes", "No"}
    assert [one["time"] for one in news] == sorted(one["time"] for one in news)


def test_the_real_outcomes_follow_from_the_real_ticks() -> None:
    """Up if the price at the end is at or above that at the start, as the markets' descriptions say."""
    night = pm.open_recording(pm.sample("updown"))
    ticks = night.scan("reference_prices").select(pl.col("ts_event").dt.epoch("s"), "value").collect()
    price = dict(ticks.iter_rows())
    told = dict(
        night.scan("market_events")
        .filter(pl.col("kind") == "market_resolved")
        .select("market", "winning_outcome")
        .collect()
        .iter_rows()
    )

    checked = 0
    for market in night.markets:
        start = int(market.slug.rsplit("-", 1)[1])
        if start in price and start + 300 in price:
            checked += 1
            assert told[market.condition_id] == ("Up" if price[start + 300] >= price[start] else "Down")
    assert len(night.markets) == len(told) == _UPDOWN
    assert checked >= _UPDOWN - 4


def test_up_and_down_has_no_gap_and_every_fee() -> None:
    night = pm.open_recording(pm.sample("updown"))

    assert night.gaps.height == 0
    assert {market.fees.rate for market in night.markets if market.fees} == {0.07}
    assert all("simulated" in market.question for market in night.markets)
