"""The tools that read: markets, books now and then, and recordings; numbers are compared with what polars says."""

import json
import shutil
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from support.toolkit import Bench, benched
from support.waiting import wait_until

import pmlive as pm
from pmlive.sim import SimulatedVenue

Rows = list[dict[str, object]]
NIGHT = pm.open_recording(pm.sample())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Generator[Bench]:
    with benched(tmp_path_factory.mktemp("recordings")) as made:
        yield made


def rows(answer: dict[str, object], name: str = "rows") -> Rows:
    return cast("Rows", answer[name])


def busy_token() -> str:
    return str(NIGHT.scan("trades").group_by("token_id").len().sort("len", "token_id").collect()["token_id"][-1])


def test_markets_are_found_by_words_with_whole_ids(bench: Bench) -> None:
    (found,) = rows(bench.call("find_markets", query="rain in London"), "markets")
    market = next(one for one in bench.markets if one.condition_id == found["condition_id"])
    assert [one["token_id"] for one in cast("Rows", found["tokens"])] == list(market.token_ids)
    assert found["untrusted_question"] == market.question


def test_the_book_now_is_the_manager_s(bench: Bench) -> None:
    token_id = bench.markets[1].token_ids[0]
    bench.call("subscribe_orderbook_updates", token_ids=[token_id])

    told = bench.call("get_book", token=token_id, depth=3)
    by_name = bench.call("get_book", token=bench.markets[1].slug, outcome="yes", depth=3)

    assert told["token_id"] == by_name["token_id"] == token_id
    assert told["trust"] == "verified"
    assert len(cast("Rows", told["bids"])) == 3
    assert told["mid"] == pytest.approx((cast("float", told["best_bid"]) + cast("float", told["best_ask"])) / 2)


def test_the_book_of_a_token_that_nobody_follows_is_refused_with_the_next_step(bench: Bench) -> None:
    assert "subscribe_orderbook_updates" in bench.refusal("get_book", token="123456789")


def test_a_book_then_is_what_the_recording_says(bench: Bench) -> None:
    token_id, last = busy_token(), cast("object", NIGHT.last_time)
    book = NIGHT.book_at(token_id, last)  # pyright: ignore[reportArgumentType]

    told = bench.call("get_book", recording="sample", token=token_id, at=str(last), depth=4)

    assert told["trust"] == book.quality == "verified"
    assert told["bids"] == [list(level) for level in book.bids[:4]]
    assert told["asks"] == [list(level) for level in book.asks[:4]]


def test_a_book_within_a_gap_is_stale_and_has_no_levels(bench: Bench) -> None:
    token_id = busy_token()
    gap = NIGHT.gaps.filter(pl.col("token_id") == token_id).row(0, named=True)
    middle = gap["started"] + timedelta(seconds=1)

    told = bench.call("get_book", recording="sample", token=token_id, at=middle.isoformat())

    assert told["trust"] == "stale: disconnect"
    assert (told["bids"], told["asks"], told["mid"]) == (None, None, None)


def test_rows_are_those_of_the_table_in_time_and_number(bench: Bench) -> None:
    token_id = busy_token()
    trades = NIGHT.scan("trades", token=token_id).collect()
    start, end = trades["ts_recv"][2], trades["ts_recv"][8]

    told = bench.call(
        "query_recording",
        recording="sample",
        table="trades",
        token=token_id,
        start=start.isoformat(),
        end=end.isoformat(),
        columns=["price", "size"],
        limit=4,
    )

    wanted = trades.filter(pl.col("ts_recv").is_between(start, end, closed="left")).select("price", "size")
    assert rows(told) == wanted.head(4).to_dicts()
    assert told["more"] is (wanted.height > 4)


def test_the_newest_rows_are_asked_for_by_last(bench: Bench) -> None:
    told = bench.call("query_recording", recording="sample", table="trades", columns=["seq"], last=True, limit=3)
    assert [row["seq"] for row in rows(told)] == NIGHT.scan("trades").collect()["seq"].tail(3).to_list()


@pytest.mark.parametrize("how", ["first", "last", "min", "max", "mean", "sum"])
def test_an_aggregate_is_polars_own(bench: Bench, how: str) -> None:
    token_id = busy_token()
    told = bench.call(
        "query_recording", recording="sample", table="trades", token=token_id, columns=["size"], aggregate=how
    )
    sizes = NIGHT.scan("trades", token=token_id).collect()["size"]
    assert rows(told)[0]["rows"] == sizes.len()
    assert rows(told)[0]["size"] == pytest.approx(
        getattr(sizes, how)() if how not in ("first", "last") else sizes[0 if how == "first" else -1]
    )


def test_intervals_that_a_gap_touches_are_marked(bench: Bench) -> None:
    token_id = busy_token()
    gap = NIGHT.gaps.filter(pl.col("token_id") == token_id).row(0, named=True)

    told = bench.call(
        "query_recording",
        recording="sample",
        table="prices",
        token=token_id,
        columns=["mid"],
        aggregate="last",
        every="5s",
        limit=200,
    )

    marked = {str(row["time"]) for row in rows(told) if row["touched"]}
    assert marked
    assert all(_touches(time, gap["started"], gap["ended"]) for time in marked)
    assert not all(row["touched"] for row in rows(told))


def _touches(time: str, started: object, ended: object) -> bool:
    start = pl.Series([time]).str.to_datetime(time_zone="UTC")[0]
    return start < ended and start + timedelta(seconds=5) > started  # pyright: ignore[reportOperatorIssue]


def test_an_unknown_column_is_refused_and_the_known_ones_are_listed(bench: Bench) -> None:
    text = bench.refusal("query_recording", recording="sample", table="trades", columns=["price", "zzz'; drop"])
    assert "transaction_hash" in text
    assert "zzz" not in text


def test_an_answer_is_never_longer_than_a_reader_can_take(bench: Bench) -> None:
    told = bench.call("query_recording", recording="sample", table="book_snapshots", limit=200)
    assert len(json.dumps(told)) < 60_000
    assert told["more"] is True


def test_the_quality_is_the_report_s(bench: Bench) -> None:
    told = cast("dict[str, object]", bench.call("get_recording_quality", recording="sample", limit=3)["recording"])
    report = NIGHT.quality()
    assert told["coverage"] == report.coverage
    assert told["tokens_total"] == len(report.tokens)
    assert [fault["cause"] for fault in cast("Rows", told["faults"])] == [fault.cause for fault in report.faults]


def test_the_recording_that_is_being_made_is_listed_and_can_be_asked(tmp_path: Path) -> None:
    with benched(tmp_path) as bench:
        market = bench.markets[0]
        bench.live.record(tmp_path / "tonight")
        bench.call("subscribe_market_prices", market_ids=[market.slug])
        wait_until(lambda: bench.live.prices.height > 4)
        wait_until(lambda: "tonight" in pm_names(bench))

        def height() -> int:
            return len(rows(bench.call("query_recording", recording="tonight", table="prices", limit=200)))

        wait_until(lambda: height() > 2, what="that recorded prices can be read")


def pm_names(bench: Bench) -> list[object]:
    return [one["name"] for one in rows(bench.call("get_recording_quality", limit=50), "recordings")]


@pytest.mark.parametrize("name", ["../sample", "/etc", "..", "a/b", "nothing"])
def test_a_recording_is_named_and_no_path_leads_anywhere(bench: Bench, name: str) -> None:
    text = bench.refusal("get_recording_quality", recording=name)
    assert text == "there is no recording of this name; call get_recording_quality without one to list them"


def served_as(bench: Bench, name: str) -> bool:
    """Tell whether anything is served as a recording of a name, by whichever tool."""
    asked = [
        bench.answer("get_recording_quality", {"recording": name}),
        bench.answer("query_recording", {"recording": name, "table": "trades"}),
        bench.answer("get_book", {"recording": name, "token": busy_token()}),
    ]
    return not all(answer.failed and "there is no recording of this name" in answer.text for answer in asked)


@pytest.mark.parametrize("root", ["linked", "plain"])
def test_a_link_out_of_the_folder_is_no_recording_by_either_name(tmp_path: Path, root: str) -> None:
    shutil.copytree(pm.sample(), tmp_path / "elsewhere" / "target")
    folder = tmp_path / "recordings"
    folder.mkdir()
    shutil.copytree(pm.sample(), folder / "mine")
    (folder / "away").symlink_to(tmp_path / "elsewhere" / "target", target_is_directory=True)
    (folder / "up").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "linked").symlink_to(folder, target_is_directory=True)
    with benched(tmp_path / "linked" if root == "linked" else folder) as bench:
        assert set(pm_names(bench)) == {"mine", "sample", "sample-evening", "sample-updown"}
        assert served_as(bench, "mine")
        for name in ("away", "target", "up", "elsewhere", "up/target"):
            assert not served_as(bench, name), name


@pytest.mark.parametrize(
    "name",
    ["a night", ".hidden", "-o", "_a", "a\nb", "a;b", "a$(b)", "n\u00e4chte", "\u202ea", "a" * 129, "a'b", 'a"b'],
)
def test_a_recording_of_a_name_that_is_not_plain_is_not_served(tmp_path: Path, name: str) -> None:
    shutil.copytree(pm.sample(), tmp_path / "plain-1.a_B")
    shutil.copytree(pm.sample(), tmp_path / name)
    with benched(tmp_path) as bench:
        assert "plain-1.a_B" in pm_names(bench)
        assert name not in pm_names(bench)
        assert not served_as(bench, name)


@pytest.mark.parametrize("tool", ["find_markets", "subscribe_market_resolution", "get_realtime_status"])
def test_titles_of_strangers_are_only_where_they_are_marked(tool: str) -> None:
    """Whatever a market is called, every field that is not marked reads the same."""
    plain, hostile = (_told_of(tool, hostile=hostile) for hostile in (False, True))
    assert plain == hostile


def _told_of(tool: str, *, hostile: bool) -> object:
    with benched(sim=SimulatedVenue(markets=1, rate=0, hostile_titles=hostile)) as bench:
        condition_id = bench.markets[0].condition_id
        if tool == "find_markets":
            return _unmarked(bench.call(tool, query=condition_id))
        told = bench.call("subscribe_market_resolution", market_ids=[condition_id])
        return _unmarked(told if tool == "subscribe_market_resolution" else bench.call(tool)["subscriptions"])


def _unmarked(value: object) -> object:
    """Leave out what is marked, and what is another with each run."""
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        return {
            name: _unmarked(one)
            for name, one in named.items()
            if not name.startswith("untrusted_")
            and name not in ("as_of", "token_id", "condition_id", "subscription_id", "id", "created_at", "last_event")
        }
    if isinstance(value, list):
        return [_unmarked(one) for one in cast("list[object]", value)]
    return value
