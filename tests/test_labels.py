"""Rows with the names of their tokens, views of one token, and frames that are read when they are used."""

# pandas comes without types, and matplotlib's leave those of data open.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import pickle
from datetime import datetime
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import polars as pl
import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter
from polars.testing import assert_frame_equal
from support.live import address
from support.waiting import wait_until

import pmlive as pm
from pmlive.manager import Manager
from pmlive.markets.market import Directory
from pmlive.sim import SimulatedVenue
from pmlive.tables import LABELS, ROLLING, SCHEMAS, STORED, labelled

NIGHT = pm.open_recording(pm.sample())
SLUG = "will-it-rain-in-london-on-new-years-eve"
YES = NIGHT.token(SLUG, "Yes")


# --- labels ---


@pytest.mark.parametrize("table", sorted(set(STORED) | set(ROLLING)))
def test_labels_stand_after_the_token_and_leave_a_table_s_own_columns_as_they_are(table: str) -> None:
    columns = SCHEMAS[table].names()

    found = labelled(SCHEMAS[table].to_frame(), {"1": ("rain", "Yes")})

    assert found.drop([name for name in LABELS if name not in columns], strict=False).schema == SCHEMAS[table]
    if "token_id" in columns:
        assert set(LABELS) <= set(found.columns)
        assert found.columns[: columns.index("token_id") + 1] == columns[: columns.index("token_id") + 1]
    else:
        assert found.columns == columns


def test_a_token_without_a_name_has_null_labels_and_rows_keep_their_order() -> None:
    rows = pl.DataFrame({"token_id": ["2", "1", None, "3", "1"], "size": [1, 2, 3, 4, 5]})

    found = labelled(rows, {"1": ("rain", "Yes"), "3": ("", "No")})

    assert found.columns == ["token_id", "slug", "outcome", "size"]
    assert found["size"].to_list() == [1, 2, 3, 4, 5]
    assert found["slug"].to_list() == [None, "rain", None, None, "rain"]
    assert found["outcome"].to_list() == [None, "Yes", None, "No", "Yes"]
    assert found["slug"].dtype == pl.Categorical
    assert_frame_equal(labelled(rows.lazy(), {"1": ("rain", "Yes"), "3": ("", "No")}).collect(), found)
    assert_frame_equal(labelled(found, {}), found)


def test_a_scan_has_labels_when_asked_for_and_the_frames_of_a_recording_always() -> None:
    names = Directory(NIGHT.markets).names()

    plain, named = NIGHT.scan("trades").collect(), NIGHT.scan("trades", labels=True).collect()

    assert_frame_equal(named.drop(LABELS), plain)
    assert [names[token] for token in named["token_id"]] == list(zip(*named.select(LABELS), strict=True))
    assert_frame_equal(NIGHT.trades, named)
    assert_frame_equal(NIGHT.prices(), NIGHT.scan("prices", labels=True).collect())
    assert_frame_equal(NIGHT.gaps.drop(LABELS), NIGHT.gap_index.frame)
    assert set(LABELS) <= set(NIGHT.prices(every="10s").columns) & set(NIGHT.bars(every="10s").columns)
    assert NIGHT.scan("trades", token=SLUG, outcome="Yes").collect()["token_id"].unique().to_list() == [YES]


def test_the_obvious_plot_has_a_line_for_each_outcome() -> None:
    """It was one line that jumped between the outcomes."""
    mpl.use("Agg")
    drawn = NIGHT.prices.to_pandas().groupby(["slug", "outcome"])["mid"].plot()

    assert isinstance(drawn, pd.Series)
    assert len(drawn) == len(drawn.iloc[0].lines) == sum(len(market.outcomes) for market in NIGHT.markets)


# --- frames that are read when they are used ---


def test_prices_are_a_frame_and_a_function_of_less() -> None:
    prices, columns = NIGHT.prices, NIGHT.scan("prices", labels=True).collect().columns

    assert isinstance(prices, pl.DataFrame)
    assert prices.columns == columns
    assert_frame_equal(pl.concat([prices, NIGHT.prices.clear()]), NIGHT.prices())
    assert_frame_equal(prices(YES), prices.filter(pl.col("token_id") == YES))
    assert_frame_equal(pickle.loads(pickle.dumps(prices)), NIGHT.prices())  # noqa: S301  # our own
    assert prices.to_pandas().shape == prices.shape
    with pytest.raises(AttributeError, match="'PricesFrame' object has no attribute 'nonsense'"):
        _ = prices.nonsense  # pyright: ignore[reportAttributeAccessIssue]


def test_what_is_called_for_less_does_not_read_everything() -> None:
    read: list[str] = []

    class Watched(pm.Recording):
        def _prices(self, *args: object, **options: object) -> pl.DataFrame:
            read.append(str(args[:1]))
            return super()._prices(*args, **options)  # pyright: ignore[reportArgumentType]

    night = Watched(pm.sample())

    assert night.prices(YES).height > 0
    assert read == [f"({YES!r},)"]
    assert night.prices.height > 0
    assert read[1:] == ["(None,)"]


def test_depth_has_the_columns_of_a_manager_and_the_books_at_those_times() -> None:
    depth = NIGHT[YES].depth

    assert depth.drop(LABELS).schema == SCHEMAS["depth"]
    assert depth.height > 100
    assert NIGHT[YES].gaps.height > 0
    assert depth.select("bid_prices", "ask_sizes").null_count().row(0) == (0, 0)
    for row in depth.gather_every(40).iter_rows(named=True):
        book = NIGHT.book_at(YES, _before(row["ts_recv"]))
        assert book.quality != "stale"
        assert [price for price, _ in book.bids[:10]] == row["bid_prices"]
        assert [size for _, size in book.asks[:10]] == row["ask_sizes"]
    whole = NIGHT.depth
    assert_frame_equal(whole.filter(pl.col("token_id") == YES), depth)
    assert whole["ts_recv"].is_sorted()
    assert whole["token_id"].n_unique() == 8


def _before(time: datetime) -> int:
    """Return the nanosecond before a time, which is in the interval that ended then."""
    return int(time.timestamp() * 1000) * 1_000_000 - 1


# --- views of one token ---


def test_a_view_is_the_same_of_a_recording_and_of_its_replay() -> None:
    recorded = NIGHT[SLUG, "Yes"]
    with NIGHT.replay(speed="max") as replay:
        played = replay[SLUG, "yes"]

        assert (played.token_id, played.slug, played.outcome) == (recorded.token_id, SLUG, "Yes")
        assert played.label == recorded.label
        assert_frame_equal(played.prices, recorded.prices)
        assert_frame_equal(played.trades, recorded.trades)
        assert played.gaps.columns == recorded.gaps.columns
        assert played.depth.columns == recorded.depth.columns
        assert played.book().bids == recorded.book().bids

    assert_frame_equal(played.prices, recorded.prices)
    with pytest.raises(pm.FeedError, match="closed"):
        played.book()


def test_a_view_draws_its_prices_its_trades_and_its_gaps() -> None:
    view = NIGHT[SLUG, "Yes"]

    axes = view.plot()

    assert axes.get_title(loc="left") == f"Price \N{MIDDLE DOT} simulated: {view.label}"
    (mid,) = [line for line in axes.lines if line.get_label() == "mid"]
    drawn = [y for y in mid.get_ydata() if y == y]  # noqa: PLR0124  # without those in gaps  # pyright: ignore[reportUnknownVariableType,reportGeneralTypeIssues]
    assert set(drawn) <= set(view.prices["mid"].drop_nulls())
    marks = sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() in {"^", "v"})  # pyright: ignore[reportArgumentType]
    assert marks == view.trades.height
    assert view.plot(axes) is axes


def test_a_plot_that_is_looked_at_closely_has_every_price() -> None:
    evening = pm.open_recording(pm.sample("evening"))
    view = evening[evening.prices["token_id"].value_counts(sort=True)["token_id"][0]]
    prices = view.prices.filter(pl.col("mid").is_not_null())

    (mid,) = [line for line in view.plot().lines if line.get_label() == "mid"]

    drawn = pl.DataFrame({"at": mid.get_xdata(), "drawn": mid.get_ydata()}).sort("at")  # pyright: ignore[reportArgumentType]
    # In days since 1970, as matplotlib counts.
    days = prices.select(at=pl.col("ts_recv").dt.epoch("ms") / 86_400_000, mid="mid").sort("at")
    last = days.unique("at", keep="last", maintain_order=True)
    compared = last.with_columns(at=pl.col("at") + 1e-9).join_asof(drawn, on="at").filter(pl.col("drawn").is_not_nan())
    assert compared.height > 1000
    assert compared["drawn"].to_list() == compared["mid"].to_list()


@pytest.mark.parametrize("key", [1, ("a",), ("a", "b", "c"), ("a", None), None])
def test_what_cannot_name_a_token_is_a_type_error(key: object) -> None:
    with pytest.raises(TypeError, match="expected a token id, or a market and an outcome"):
        NIGHT[key]  # pyright: ignore[reportArgumentType,reportCallIssue]


def test_a_market_alone_asks_for_its_outcome_wherever_one_token_is_needed() -> None:
    told = f"'{SLUG}' has the outcomes 'Yes' and 'No'; name one as the outcome"
    with NIGHT.replay(speed="max") as replay:
        from pmlive.widgets import Ladder, PriceChart, Tape  # heavy

        needing = [
            lambda: replay.book(SLUG),
            lambda: replay[SLUG],
            lambda: replay.token(SLUG),
            lambda: replay.dashboard(SLUG),
            lambda: PriceChart(replay, SLUG),
            lambda: Ladder(replay, SLUG),
            lambda: Tape(replay, SLUG),
            lambda: NIGHT.book_at(SLUG, 0),
            lambda: NIGHT.depth(SLUG),
            lambda: NIGHT.prices(SLUG),
            lambda: NIGHT.bars(SLUG),
            lambda: NIGHT.scan("trades", token=SLUG),
            lambda: NIGHT[SLUG],
        ]
        for call in needing:
            with pytest.raises(pm.UnknownMarketError) as asked:
                call()
            assert str(asked.value) == told
        assert PriceChart(replay, (SLUG, "Yes")).token_id == YES


def test_a_market_is_followed_by_its_name_and_seen_by_its_outcomes() -> None:
    with SimulatedVenue(markets=2, rate=100) as sim, Manager(address(sim)) as live:
        market = sim.markets[0]
        view = live.follow(market.slug)
        other = live.follow(market.slug, "No")

        assert live.follow(market.token_ids[1]).token_id == other.token_id
        with pytest.raises(pm.UnknownMarketError, match="is a token, which is of one outcome"):
            live.follow(market.token_ids[1], "No")
        with pytest.raises(pm.UnknownMarketError, match="2 markets; follow one of them, such as"):
            live.follow(market.event_slug)
        assert (view.slug, view.outcome, other.outcome) == (market.slug, market.outcomes[0], "No")
        assert len(live.subscriptions) == 1
        assert view.book().token_id == view.token_id == market.token_ids[0]
        assert live.first("prices", rows=3).height >= 3
        wait_until(lambda: view.depth.height > 0)
        assert set(view.prices["outcome"]) == {market.outcomes[0]}
        with pytest.raises(TimeoutError, match=r"0 of 1 rows of 'user_orders' came within 0\.1 s"):
            live.first("user_orders", patience=0.1)
        with pytest.raises(ValueError, match="no frame 'books'"):
            live.first("books")
    assert view.prices.height > 0
    assert live.prices.height >= view.prices.height


def test_a_folder_that_is_not_there_is_a_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        pm.open_recording(tmp_path / "nowhere")
    with pytest.raises(pm.StoreError, match=r"it has no manifest\.json"):
        pm.open_recording(tmp_path)


def test_ipython_completes_markets_and_outcomes_in_brackets() -> None:
    with NIGHT.replay(speed="max") as replay:
        for one in (NIGHT, replay):
            assert completed(one, 'here["will-it') == [SLUG]
            assert completed(one, f'here["{SLUG}", "') == ["No", "Yes"]


def completed(here: object, line: str) -> list[str]:
    completer = IPCompleter(namespace={"here": here}, global_namespace={})
    with provisionalcompleter():
        return sorted({found.text.strip('"') for found in completer.completions(line, len(line))})
