"""Trades of the past by REST: every page, each trade once, nothing asked twice, and what is missing told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from support.data_api import CONDITION, MARKET, NO, YES, Api, at, page_of, trade, trading
from support.examples import examples
from support.http import Answer, Answering, Request, Server, serving

import pmlive as pm
from pmlive.errors import FeedError, ProtocolError, UnknownMarketError
from pmlive.history import History, HistoryWarning
from pmlive.history.shelf import SETTLED_NS, Shelf
from pmlive.history.walk import TRADES, Page, Walk, trades_page
from pmlive.history.walk import Trade as ReadTrade
from pmlive.markets import Market, Policy
from pmlive.settings import Venue

S = 10**9
NOW = 1_796_000_000
FAST = Policy(timeout=10, attempts=2, delays=lambda _attempt: 0.0)
# Far from now, so that all of it is final.
LONG_AGO = [trade(NOW - 500_000 + 10 * (number // 2), number) for number in range(20)]


def history(server: Server, cache: Path | None = None, *, now: int = NOW, policy: Policy = FAST) -> History:
    return History(at(server), cache=cache or "keep", clock=lambda: now * S, policy=policy, piece=6)


def hashes(frame: pl.DataFrame) -> list[int]:
    return [int(text, 16) for text in frame["transaction_hash"]]


# --- what comes of it ---


def test_all_pages_are_one_labelled_frame_the_oldest_first() -> None:
    rows = [trade(NOW - 100, 1), trade(NOW - 50, 2, token=NO, side="SELL", price=0.6, size=7.5), trade(NOW - 50, 3)]
    with trading(rows, page=2) as (server, _):
        frame = history(server).trades(MARKET)

    assert hashes(frame) == [1, 2, 3]
    assert frame.columns[:5] == ["ts_event", "token_id", "slug", "outcome", "market"]
    assert frame["ts_event"].dt.epoch("s").to_list() == [NOW - 100, NOW - 50, NOW - 50]
    assert frame.drop("ts_event", "transaction_hash", "proxy_wallet").row(1) == (
        NO, "will-it-rain", "No", CONDITION, 0.6, 7.5, "sell", "rest",
    )  # fmt: skip
    assert frame.coverage.rows == 3
    assert frame.coverage.requests == 2
    assert frame.coverage.whole


def test_the_frame_joins_recorded_trades_and_never_passes_for_them() -> None:
    recorded = pm.open_recording(pm.sample()).trades
    with trading(LONG_AGO) as (server, _):
        frame = history(server).trades(MARKET)

    both = pl.concat([frame, recorded], how="diagonal")

    assert {"seq", "ts_recv", "conn", "sign_source", "check"}.isdisjoint(frame.columns)
    assert both.filter(pl.col("source") == "rest").height == frame.height
    assert both.filter(pl.col("source").is_null()).height == recorded.height
    shared = [name for name in frame.columns if name in recorded.columns]
    assert {name: frame.schema[name] for name in shared} == {name: recorded.schema[name] for name in shared}


def test_a_market_without_trades_gives_an_empty_frame_with_all_columns() -> None:
    with trading([]) as (server, _):
        empty = history(server).trades(MARKET)
    with trading(LONG_AGO) as (server, _):
        assert empty.schema == history(server).trades(MARKET).schema
    assert empty.is_empty()


@pytest.mark.parametrize(("name", "outcome", "found"), [
    (MARKET, None, [1, 2]),
    (MARKET, "no", [2]),
    (CONDITION, None, [1, 2]),
    ("will-it-rain", "Yes", [1]),
    ("https://polymarket.com/market/will-it-rain", None, [1, 2]),
    (NO, None, [2]),
])  # fmt: skip
def test_a_market_is_named_as_everywhere(name: str | Market, outcome: str | None, found: list[int]) -> None:
    listed = {
        "conditionId": CONDITION, "slug": "will-it-rain", "outcomes": '["Yes","No"]',
        "clobTokenIds": json.dumps([YES, NO]), "version": "v1",
    }  # fmt: skip
    api = Api([trade(NOW - 9, 1), trade(NOW - 8, 2, token=NO)])

    def answer(request: Request) -> Answer:
        if request.path == "/markets":
            return Answer(json.dumps([listed]))
        return Answer(json.dumps(listed)) if request.path.startswith("/markets/slug/") else api(request)

    with serving(answer) as server:
        assert hashes(history(server).trades(name, outcome=outcome)) == found


def test_an_unknown_outcome_and_a_market_without_condition_id_are_refused() -> None:
    with trading([]) as (server, _):
        with pytest.raises(UnknownMarketError, match="no outcome 'Maybe'"):
            history(server).trades(MARKET, outcome="Maybe")
        with pytest.raises(UnknownMarketError, match="no condition id yet"):
            history(server).trades(Market(slug="young"))
        with pytest.raises(ValueError, match="is before the start"):
            history(server).trades(MARKET, start="2026-02-01", end="2026-01-01")


def test_the_start_is_in_it_and_the_end_is_not() -> None:
    rows = [trade(NOW - 500 + number, number) for number in range(9)]
    with trading(rows) as (server, _):
        frame = history(server).trades(MARKET, start=(NOW - 498) * S, end=(NOW - 495) * S)

    assert hashes(frame) == [2, 3, 4]


# --- pages ---


def test_pages_end_where_the_interval_begins() -> None:
    with trading(LONG_AGO, page=3) as (server, _):
        frame = history(server).trades(MARKET, start=(NOW - 500_000 + 70) * S)

    assert len(server.requests) == 3  # the trade before the start is on the third of seven
    assert hashes(frame) == [14, 15, 16, 17, 18, 19]


def test_every_page_is_asked_with_all_filters_for_takers_alone() -> None:
    with trading(LONG_AGO) as (server, _):
        history(server).trades(MARKET)

    assert len(server.requests) == 7
    for number, request in enumerate(server.requests):
        assert ("cursor" in request.query) == (number > 0)
        assert {name: value[0] for name, value in request.query.items() if name != "cursor"} == {
            "condition": CONDITION, "taker_only": "true", "filter_type": "TOKENS", "filter_amount": "0",
            "limit": "1000",
        }  # fmt: skip


def test_rows_that_come_again_at_the_border_of_pages_are_there_once_and_counted() -> None:
    first, second = [trade(NOW - 1, 3), trade(NOW - 2, 2)], [trade(NOW - 2, 2), trade(NOW - 3, 1)]
    with serving(lambda request: page_of(second) if "cursor" in request.query else page_of(first, "x")) as server:
        frame = history(server).trades(MARKET)

    assert hashes(frame) == [1, 2, 3]
    assert frame.coverage.repeated == 1


def test_equal_rows_within_a_page_are_what_the_venue_lists() -> None:
    with serving(lambda _: page_of([trade(NOW - 1, 1), trade(NOW - 1, 1)])) as server:
        assert history(server).trades(MARKET).height == 2


def _once(page: Answer) -> Answering:
    return lambda request: page if "cursor" not in request.query else page_of([trade(NOW - 1, 9)])


_WRONG: list[tuple[Answering, str]] = [
    (lambda _: page_of([trade(NOW - 1, 1)], "x"), "same page again|a page of trades again"),
    (lambda request: page_of([trade(NOW - 1, len(request.query))], "x"), "to the same page again"),
    (_once(page_of([trade(NOW - 5, 1)], "x")), "newer trades after older ones"),
    (lambda _: page_of([trade(NOW - 5, 1), trade(NOW - 4, 2)]), "newer trades after older ones"),
    (lambda _: page_of([trade(NOW - 5, 1, condition_id="0x" + "cd" * 32)]), "answered with trades of '0xcdcd"),
    (lambda _: Answer('{"data":[],"pagination":{"has_more":true}}'), "another page, and not how to ask for it"),
    (lambda _: Answer("[]"), "something else than expected"),
    (lambda _: page_of([trade(-5)]), "neither seconds nor milliseconds"),
    (lambda _: page_of([trade(5, timestamp="soon")]), "not a number of seconds"),
    (lambda _: page_of([trade(5, price="cheap")]), "'cheap' is not a number"),
]


@pytest.mark.parametrize(("answer", "message"), _WRONG)
def test_an_answer_that_could_lose_or_double_trades_is_refused(answer: Answering, message: str) -> None:
    with serving(answer) as server, pytest.raises(ProtocolError, match=message):
        history(server).trades(MARKET)


@pytest.mark.parametrize("written", [NOW, float(NOW), str(NOW), NOW * 1000, str(NOW * 1000)])
def test_seconds_and_milliseconds_mean_the_same_time(written: float | str) -> None:
    body = page_of([trade(0, timestamp=written)]).body
    assert isinstance(body, bytes)

    assert trades_page(body, condition_id=CONDITION).rows[0].time == NOW * S


def test_a_field_without_a_value_is_null_and_the_row_is_there() -> None:
    with serving(lambda _: page_of([trade(NOW - 1, price=None, size=None, side="", transaction_hash="")])) as server:
        row = history(server).trades(MARKET).row(0, named=True)

    assert [row[name] for name in ("price", "size", "side", "transaction_hash")] == [None] * 4


def test_a_busy_venue_is_given_the_time_that_it_asks_for() -> None:
    with trading(LONG_AGO) as (server, api):
        busy = [Answer("busy", 429, {"retry-after": "0"}), Answer("busy", 503, {"retry-after": "0"})]
        api.before = lambda _: busy.pop() if busy else None
        frame = history(server, policy=Policy(attempts=3, delays=lambda _: 60.0)).trades(MARKET)

    assert frame.height == len(LONG_AGO)


# --- what is missing ---


def test_trades_from_before_the_three_years_that_the_venue_lists_are_told() -> None:
    old = Market(**{name: getattr(MARKET, name) for name in ("condition_id", "slug", "outcomes", "token_ids")},
                 start_date=datetime(2020, 1, 1, tzinfo=UTC))  # fmt: skip
    with trading(LONG_AGO) as (server, _), pytest.warns(HistoryWarning, match="2020-01-01 .* are missing: the venue"):
        frame = history(server).trades(old)

    assert not frame.coverage.whole
    assert frame.coverage.given_from == (NOW - 3 * 365 * 86_400) * S


def test_nothing_is_told_to_be_missing_of_an_interval_that_the_venue_lists() -> None:
    with trading(LONG_AGO) as (server, _), warnings.catch_warnings(action="error"):
        frame = history(server).trades(MARKET, start=(NOW - 10**6) * S)

    assert frame.coverage.whole


# --- what is kept ---


def test_what_is_known_is_not_asked_for_again(tmp_path: Path) -> None:
    with trading(LONG_AGO) as (server, api):
        first = history(server, tmp_path).trades(MARKET)
        asked = len(server.requests)
        api.rows += [trade(NOW + 10_000, 100)]
        again = history(server, tmp_path, now=NOW + 20_000).trades(MARKET)

    assert len(server.requests) == asked + 1
    assert_frame_equal(again[:-1], pl.DataFrame(first))
    assert hashes(again)[-1] == 100
    assert again.coverage.cached == len(LONG_AGO)


def test_older_trades_are_asked_for_from_where_an_earlier_walk_ended(tmp_path: Path) -> None:
    with trading(LONG_AGO) as (server, _):
        history(server, tmp_path).trades(MARKET, start=(NOW - 500_000 + 70) * S)
        asked = len(server.requests)
        frame = history(server, tmp_path).trades(MARKET)

    assert hashes(frame) == list(range(20))
    assert len(server.requests) == asked + 1 + 4


def test_a_walk_that_fails_continues_where_it_failed(tmp_path: Path) -> None:
    with trading(LONG_AGO) as (server, api):
        api.before = lambda _: Answer("down", 500) if len(server.requests) > 5 else None
        with pytest.raises(FeedError, match="cannot be reached after 2 attempts"):
            history(server, tmp_path).trades(MARKET)
        api.before = lambda _: None
        asked = len(server.requests)
        frame = history(server, tmp_path).trades(MARKET)

    assert hashes(frame) == list(range(20))
    # The newest page, and the three of seven that were not kept: pieces have two pages.
    assert len(server.requests) - asked == 1 + 3


def test_a_walk_that_is_killed_continues_where_it_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from support.data_api import MARKET\n"
        "from pmlive.history import History; from pmlive.settings import Venue; url, cache, now = sys.argv[1:]\n"
        "where = Venue(clob=url, gamma=url, data=url)\n"
        "History(where, cache=Path(cache), clock=lambda: int(now), piece=6).trades(MARKET)"
    )
    with trading(LONG_AGO) as (server, api):
        walker = subprocess.Popen(
            [sys.executable, "-c", program, server.url, str(tmp_path), str(NOW * S)], cwd=Path(__file__).parent
        )

        def kill(_: Request) -> None:
            if len(server.requests) == 6:
                os.kill(walker.pid, signal.SIGKILL)

        api.before = kill
        assert walker.wait(60) == -signal.SIGKILL
        api.before = lambda _: None
        asked = len(server.requests)
        frame = history(server, tmp_path).trades(MARKET)

    assert hashes(frame) == list(range(20))
    assert len(server.requests) - asked <= 1 + 4


def test_several_walks_at_once_give_the_same(tmp_path: Path) -> None:
    with trading(LONG_AGO) as (server, _), ThreadPoolExecutor(4) as threads:
        started = [threads.submit(history(server, tmp_path).trades, MARKET) for _ in range(4)]
        frames = [each.result() for each in started]

        assert all(hashes(frame) == list(range(20)) for frame in frames)
        assert hashes(history(server, tmp_path).trades(MARKET)) == list(range(20))


def test_trades_of_the_last_hour_may_still_come_late(tmp_path: Path) -> None:
    rows = [trade(NOW - 5_000, 1), trade(NOW - 1_000, 3)]
    with trading(rows) as (server, api):
        history(server, tmp_path).trades(MARKET)
        api.rows = [rows[0], trade(NOW - 2_000, 2), rows[1]]
        assert hashes(history(server, tmp_path, now=NOW + 60).trades(MARKET)) == [1, 2, 3]


def test_a_cursor_that_the_venue_does_not_know_any_more_means_to_begin_anew(tmp_path: Path) -> None:
    with trading(LONG_AGO) as (server, api):
        history(server, tmp_path).trades(MARKET, start=(NOW - 500_000 + 70) * S)
        api.signature = "w"
        assert hashes(history(server, tmp_path).trades(MARKET)) == list(range(20))


def test_a_refused_request_is_told_with_the_reason_that_the_venue_gives() -> None:
    refusal = Answer('{"error":"malformed condition id","code":"invalid_request"}', 400)
    with serving(lambda _: refusal) as server, pytest.raises(FeedError, match=r"invalid .* malformed condition id"):
        history(server).trades(MARKET)


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_file_is_fetched_again(tmp_path: Path, damage: str) -> None:
    with trading(LONG_AGO) as (server, _):
        history(server, tmp_path).trades(MARKET)
        for path in tmp_path.rglob("*.parquet"):
            whole = path.read_bytes()
            path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": b"PAR1 no PAR1"}[damage])

        assert hashes(history(server, tmp_path).trades(MARKET)) == list(range(20))
        assert hashes(history(server, tmp_path).trades(MARKET)) == list(range(20))


def test_nothing_is_kept_of_a_venue_on_this_computer_or_where_it_is_off(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, trading(LONG_AGO) as (server, _):
        patch.setenv("PMLIVE_CACHE_DIR", str(tmp_path))
        for cache in ("keep", "off"):
            History(at(server), cache=cache, clock=lambda: NOW * S).trades(MARKET)

    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_costs_the_cache_and_not_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with trading(LONG_AGO) as (server, _):
        assert history(server, tmp_path / "file").trades(MARKET).height == len(LONG_AGO)


def test_addresses_of_two_venues_are_refused() -> None:
    with pytest.raises(ValueError, match="which are two venues; set PMLIVE_DATA_URL"):
        History(Venue(gamma="http://127.0.0.1:9"))


# --- any history of walks ---


@examples(60)
@given(st.integers(0, 2**32 - 1))
def test_any_walks_at_any_times_give_what_the_venue_lists(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Walk as trades go on, and as the venue forgets cursors; the model is the list itself."""
    rng = Random(seed)
    shelf = Shelf(tmp_path_factory.mktemp("walks"), TRADES)
    now, listed, epoch = 10**9, list[ReadTrade](), 0

    async def ask(cursor: str | None) -> Page[ReadTrade]:
        age, _, place = (cursor or f"{epoch}:{len(listed)}").partition(":")
        if int(age) != epoch:
            raise pm_invalid("unknown cursor")
        end, size = int(place), rng.randint(1, 4)
        start = max(0, end - size)
        return Page(listed[start:end][::-1], f"{epoch}:{start}" if start else None)

    for _ in range(8):
        for _ in range(rng.randint(0, 12)):
            now += rng.choice((0, 0, S, 1_000 * S))
            listed.append(ReadTrade(now // S * S, YES, 0.5, 1.0, "buy", f"0x{len(listed)}", None))
        now += rng.choice((0, SETTLED_NS, 2 * SETTLED_NS))
        epoch += rng.random() < 0.1
        since = rng.choice((0, max(0, now - rng.randrange(10**13))))
        walked = asyncio.run(Walk(ask, shelf, since=since, now=now, piece=rng.randint(1, 6)).run())

        found = walked.rows.filter(pl.col("time") >= since)["transaction_hash"].to_list()
        assert found == [each.transaction_hash for each in reversed(listed) if each.time >= since]


def pm_invalid(text: str) -> Exception:
    from pmlive.markets.http import InvalidRequestError

    return InvalidRequestError(text)


# --- the simulated venue ---


def test_a_session_of_the_simulated_venue_asks_the_simulated_venue() -> None:
    with pm.Manager(venue="sim") as live:
        assert live.sim is not None
        market = live.sim.markets[0]
        live.watch(market.slug)
        live.sim.step(300)
        live.first("trades", rows=5)
        told = live.history.trades(market.slug)
        recorded = live.trades
        by_name = pm.history.trades(market.slug)

    assert set(recorded["transaction_hash"]) <= set(by_name["transaction_hash"])
    assert told.height <= by_name.height
    both = recorded.join(told, on="transaction_hash", suffix="_rest")
    assert (
        both.select((pl.col("price") == pl.col("price_rest")) & (pl.col("side") == pl.col("side_rest")))
        .to_series()
        .all()
    )
    dials = [dial.path for dial in live.sim.dials if dial.channel == "data"]
    assert set(dials) == {"/v2/trades"}
