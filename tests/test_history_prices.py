"""Prices of the past in buckets of time: whole buckets, nothing that looks ahead, and what expired told."""

import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest
from support.data_api import MARKET, NO, YES, at
from support.http import Answer, Request, Server, serving

from pmlive.errors import FeedError, ProtocolError
from pmlive.history import History, HistoryWarning
from pmlive.markets import Market, Policy
from pmlive.settings import Variables, Venue
from pmlive.sim import SimulatedVenue

S, DAY = 10**9, 86_400
NOW = 1_796_000_000 // DAY * DAY
FAST = Policy(timeout=10, attempts=2, delays=lambda _attempt: 0.0)
BEGUN = msgspec.structs.replace(MARKET, start_date=datetime.fromtimestamp(NOW - 100 * DAY, UTC))


def history(server: Server, cache: Path | None = None, *, now: int = NOW) -> History:
    return History(at(server), cache=cache or "keep", clock=lambda: now * S, policy=FAST)


def points(times: list[int], seconds: int, *, price: float = 0.5) -> Answer:
    rows = [{"timestamp": time, "price": price, "resolution_seconds": seconds} for time in times]
    return Answer(msgspec.json.encode({"data": rows, "pagination": {"limit": 10_000, "offset": 0, "has_more": False}}))


def window(request: Request) -> tuple[int, int, int]:
    start, end, width = (int(request.query[name][0]) for name in ("start", "end", "bucket_seconds"))
    return start, end, width


def every_bucket(request: Request) -> Answer:
    """Answer with a price in each bucket, and the latest one beside the grid."""
    start, end, width = window(request)
    inside = [time for time in range(start // width * width, end, width) if time >= start]
    rows = [{"timestamp": time, "price": 0.5, "resolution_seconds": width} for time in inside]
    rows.append({"timestamp": end - 1, "price": 1.0, "resolution_seconds": 0})
    return Answer(msgspec.json.encode({"data": rows, "pagination": {"limit": 10_000, "offset": 0, "has_more": False}}))


def test_prices_are_whole_buckets_that_are_known_at_their_end() -> None:
    with serving(every_bucket) as server:
        frame = history(server, now=NOW + 90).prices(BEGUN, outcome="Yes", start=NOW * S - 180 * S, every="1m")

    assert frame.columns == ["time", "ts_event", "token_id", "slug", "outcome", "market", "price", "source"]
    assert [time - NOW for time in frame["time"].dt.epoch("s")] == [-180, -120, -60, 0]  # the next is not over
    assert (frame["ts_event"] - frame["time"]).dt.total_seconds().unique().to_list() == [60]
    assert frame["price"].unique().to_list() == [0.5]
    assert set(frame["source"]) == {"rest"}


def test_each_outcome_has_its_prices_and_a_token_id_its_own() -> None:
    with serving(every_bucket) as server:
        frame = history(server).prices(BEGUN, start=(NOW - 600) * S, every="5m")

    assert frame.group_by("outcome").len().sort("outcome").rows() == [("No", 2), ("Yes", 2)]
    assert {request.query["token_id"][0] for request in server.requests} == {YES, NO}


def test_windows_have_at_most_15_days_and_are_asked_for_once(tmp_path: Path) -> None:
    with serving(every_bucket) as server:
        first = history(server, tmp_path).prices(BEGUN, outcome="Yes", every="3h")
        asked = len(server.requests)
        again = history(server, tmp_path).prices(BEGUN, outcome="Yes", every="3h")

    assert all(0 < end - start <= 15 * DAY for start, end, _ in map(window, server.requests))
    assert first.height == again.height == 100 * 8
    assert first["time"].is_sorted()
    assert first["time"].n_unique() == first.height
    assert asked > 6
    assert len(server.requests) - asked == 1  # the window that is not over


def test_what_was_kept_outlives_its_time_at_the_venue(tmp_path: Path) -> None:
    start = (NOW - 6 * DAY) * S
    expired: list[Request] = []
    with serving(lambda request: points([], 60) if expired else every_bucket(request)) as server:
        kept = history(server, tmp_path).prices(BEGUN, outcome="Yes", start=start, end=(NOW - 5 * DAY) * S, every="1m")
        expired += server.requests
        later = history(server, tmp_path, now=NOW + 30 * DAY)
        frame = later.prices(BEGUN, outcome="Yes", start=start, end=(NOW - 5 * DAY) * S, every="1m")

    assert frame.height == kept.height == 1440


def test_a_window_without_a_price_is_asked_for_again(tmp_path: Path) -> None:
    with serving(lambda _: points([], 10_800)) as server:
        for _ in range(2):
            history(server, tmp_path).prices(BEGUN, outcome="Yes", start=(NOW - DAY) * S, every="3h")

    assert len(server.requests) == 2 * len({request.query["start"][0] for request in server.requests})


@pytest.mark.parametrize(("days", "every"), [(1, 60), (30, 300), (80, 1_800), (99, 10_800)])
def test_buckets_are_by_default_the_narrowest_that_the_venue_is_sure_to_have(days: int, every: int) -> None:
    with serving(every_bucket) as server:
        history(server).prices(BEGUN, outcome="Yes", start=(NOW - days * DAY) * S)

    assert {window(request)[2] for request in server.requests} == {every}


def test_prices_that_expired_at_the_venue_are_told_with_the_time_from_which_there_are_some() -> None:
    since = NOW - 8 * DAY
    told = pytest.warns(HistoryWarning, match=r"Yes, each 60 s begin at .* for 7 days or little more.*every='5m'")
    with serving(lambda each: every_bucket(each) if window(each)[1] > since else points([], 60)) as server, told:
        frame = history(server).prices(BEGUN, outcome="Yes", every="1m")

    assert not frame.coverage.whole
    assert frame.coverage.given_from == frame["time"].dt.epoch("ns").min()


def test_nothing_is_missing_where_the_market_had_not_begun() -> None:
    with serving(every_bucket) as server, warnings.catch_warnings(action="error"):
        frame = history(server).prices(BEGUN, outcome="Yes", start="2020-01-01", every="3h")

    assert frame["time"][0] == BEGUN.start_date
    assert frame.coverage.whole


@pytest.mark.parametrize("every", ["30s", "2d", "90500ms"])
def test_a_bucket_that_the_venue_does_not_have_is_refused(every: str) -> None:
    with serving(every_bucket) as server, pytest.raises(ValueError, match="60 s to one day, in whole seconds"):
        history(server).prices(BEGUN, every=every)


def test_a_start_is_wanted_where_the_catalogue_has_none() -> None:
    with serving(every_bucket) as server, pytest.raises(ValueError, match="does not say when 'will-it-rain' began"):
        history(server).prices(MARKET)


def test_other_buckets_than_were_asked_for_are_refused() -> None:
    told = pytest.raises(ProtocolError, match="each 60 s and gave some each 300 s")
    with serving(lambda _: points([NOW - 600], 300)) as server, told:
        history(server).prices(BEGUN, outcome="Yes", start=(NOW - 900) * S, every="1m")


# --- the simulated venue ---


@contextmanager
def a_day() -> Generator[tuple[SimulatedVenue, list[int]]]:
    """Run a simulated venue for a day of its own clock."""
    now = [NOW * 1000]
    with SimulatedVenue(markets=1, seed=7, rate=0, clock=lambda: now[0]) as venue:
        for _ in range(24 * 4):
            now[0] += 900_000
            venue.step(8)
        yield venue, now


def of_venue(venue: SimulatedVenue, now: list[int], *, policy: Policy = FAST) -> tuple[History, Market]:
    where = Venue.from_environment(Variables(venue.environment()))
    market = venue.markets[0]
    known = Market(
        condition_id=market.condition_id,
        slug=market.slug,
        outcomes=list(market.outcomes),
        token_ids=list(market.token_ids),
    )
    return History(where, clock=lambda: now[0] * 1_000_000, policy=policy), known


def test_the_simulated_venue_has_the_prices_of_its_day_and_mirrored_ones() -> None:
    with a_day() as (venue, now):
        told, market = of_venue(venue, now)
        frame = told.prices(market, start=NOW * S, every="1h")

    sides = frame.pivot("outcome", index="time", values="price")
    assert frame.height == 2 * 24
    assert (sides["Yes"] + sides["No"] - 1).abs().max() == pytest.approx(0.0)


def test_the_payout_of_a_resolved_market_is_never_taken_for_a_price_of_before() -> None:
    with a_day() as (venue, now):
        told, market = of_venue(venue, now)
        before = told.prices(market, start=NOW * S, every="1h")
        venue.resolve(venue.markets[0], winner="Yes")
        after = told.prices(market, start=NOW * S, every="1h")
        half = told.prices(market, start=NOW * S, end=(NOW + DAY // 2) * S, every="1h")

    assert after.equals(before)
    assert half.equals(before.filter(pl.col("time") < half["ts_event"][-1]))
    assert set(after["price"].round(3)).isdisjoint({0.0, 1.0})


def test_the_simulated_venue_pages_trades_as_documented_and_makers_are_left_out() -> None:
    with a_day() as (venue, now):
        told, market = of_venue(venue, now)
        for _ in range(80):
            venue.step(500)  # short turns: a call into the venue has a deadline
        now[0] += 1_000
        frame = told.trades(market)

    assert frame.height > 1_500
    assert frame.coverage.requests == -(-frame.height // 1_000)
    assert frame["transaction_hash"].n_unique() == frame.height


def test_a_data_api_that_refuses_is_asked_again_and_one_that_goes_on_refusing_is_told() -> None:
    with a_day() as (venue, now):
        told, market = of_venue(venue, now)
        venue.fault("refuse", channel="data", times=1, detail="0")
        assert told.trades(market).height > 20
        venue.fault("refuse", channel="data", detail="0")
        with pytest.raises(FeedError, match=re.escape("after 2 attempts (HTTP 429)")):
            told.trades(market)
