"""The cookbook of ``pmlive.analysis``: ten questions of researchers, in a few lines each, and what answers they give.

What they give is computed anew with pandas and numpy, from the tables of the recordings and the definitions alone.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from importlib import import_module
from itertools import pairwise
from math import sqrt
from statistics import NormalDist, linear_regression
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

import pmlive as pm
from pmlive import analysis

# Its types say less than is known of a frame.
pd: Any = import_module("pandas")
Table: TypeAlias = Any
Column: TypeAlias = Any

_BLOCKS = re.findall(r"(?s)```python\n(.*?)```", analysis.__doc__ or "")
_QUESTIONS = re.findall(r"(?m)^\*\*(.+?\?)\*\*", analysis.__doc__ or "")
_SETUP, _TASKS = _BLOCKS[0], dict(zip(_QUESTIONS, _BLOCKS[1:], strict=True))
_SPREAD, _NEWS, _IMBALANCE, _COST, _MAKER, _CALIBRATION, _LEAD, _SUMS, _SIGNS, _LIQUIDITY = _QUESTIONS
_MOST_LINES, _MOST_LETTERS = 5, 100

_SECOND, _MINUTE, _HOUR = 10**9, 60 * 10**9, 3600 * 10**9
_BILL = "will-the-river-bill-pass-tonight"
_CHAIR = "who-will-be-chosen-as-the-new-chair"

Spans: TypeAlias = list[tuple[int, int]]
Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


class _Broken:
    """The recording of five-minute markets, which has no gaps, with some that are made up."""

    def __init__(self, recording: pm.Recording) -> None:
        self._recording = recording

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever a recording has
        return getattr(self._recording, name)

    def __getitem__(self, key: tuple[str, str]) -> SimpleNamespace:
        view = self._recording[key]
        concerned = pl.col("token_id").is_null() | (pl.col("token_id") == view.token_id)
        return SimpleNamespace(prices=view.prices, gaps=self.gaps.filter(concerned))

    @cached_property
    def depth(self) -> pl.DataFrame:
        return self._recording.depth.with_columns()

    @cached_property
    def gaps(self) -> pl.DataFrame:
        ends = self._recording.outcomes().filter(outcome="Up").sort("resolved_at")
        # Over the middle of one market, at the moment of another's forecast, just before the end of a third, and of
        # all that one connection carried.
        rows = [
            (ends["token_id"][3], ends["resolved_at"][3], -200, -180),
            (ends["token_id"][5], ends["resolved_at"][5], -121, -119),
            (ends["token_id"][7], ends["resolved_at"][7], -40, -25),
            (None, ends["resolved_at"][9], -1, 4),
        ]
        conn = self._recording.prices["conn"][0]
        made = pl.DataFrame(rows, schema=["token_id", "at", "from", "to"], orient="row").select(
            "token_id",
            conn=pl.lit(conn, dtype=pl.UInt32),
            started=(pl.col("at") + pl.duration(seconds="from")).cast(pl.Datetime("ns", "UTC")),
            ended=(pl.col("at") + pl.duration(seconds="to")).cast(pl.Datetime("ns", "UTC")),
            cause=pl.lit("disconnect"),
        )
        return pl.concat([self._recording.gaps.cast({"cause": pl.String}), made], how="diagonal")


class Quotes(NamedTuple):
    """The rows of one token: times in nanoseconds, and values."""

    times: Ints
    rows: Table

    def value(self, column: str, at: Iterable[int]) -> Floats:
        """Give the last value at or before each time, NaN before the first."""
        place = np.searchsorted(self.times, np.asarray(list(at), dtype=np.int64), side="right") - 1
        values = self.rows[column].to_numpy(dtype=float)
        return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)


@cache
def recordings() -> tuple[pm.Recording, _Broken]:
    return pm.open_recording(pm.sample("evening")), _Broken(pm.open_recording(pm.sample("updown")))


@cache
def done(question: str) -> dict[str, Any]:
    """Run a task as it stands in the cookbook, and give its variables."""
    made: dict[str, Any] = {}
    exec(_SETUP, made)  # noqa: S102  # the package's own
    made["night"], made["updown"] = recordings()
    exec(_TASKS[question], made)  # noqa: S102  # the package's own
    return made


def to_pandas(frame: pl.DataFrame) -> Table:
    """Give a frame with its times as nanoseconds and its names as text."""
    plain = [pl.selectors.temporal().cast(pl.Int64), pl.selectors.categorical().cast(pl.String)]
    return frame.with_columns(*plain, pl.selectors.enum().cast(pl.String)).to_pandas()


@cache
def tokens_of(which: int) -> dict[str, Quotes]:
    rows = to_pandas(recordings()[which].prices.with_columns())
    return {
        str(token): Quotes(part["ts_recv"].to_numpy(dtype=np.int64), part.reset_index(drop=True))
        for token, part in rows.groupby("token_id", sort=False)
    }


@cache
def gaps_of(which: int, token: str) -> Spans:
    """List the gaps of a token, and those of connections that carried it."""
    rows, conns = to_pandas(recordings()[which].gaps), set(tokens_of(which)[token].rows["conn"])
    own = (rows["token_id"] == token) | (rows["token_id"].isna() & rows["conn"].isin([0, *conns]))
    return [(int(start), int(end)) for start, end in rows.loc[own, ["started", "ended"]].to_numpy()]


def touches(spans: Spans, start: int, end: int) -> bool:
    return any(begun < end and over > start for begun, over in spans)


def token_of(slug: str, outcome: str) -> str:
    return recordings()[0].token(slug, outcome)


def last_of(which: int) -> int:
    return max(int(quotes.times[-1]) for quotes in tokens_of(which).values())


# --- what stands in the cookbook ---


def test_there_are_ten_tasks() -> None:
    assert len(_TASKS) == len(set(_QUESTIONS)) == 10


@pytest.mark.parametrize("question", _QUESTIONS)
def test_a_task_has_five_plain_lines_at_most(question: str) -> None:
    lines = _TASKS[question].splitlines()

    assert 1 <= len(lines) <= _MOST_LINES
    assert max(map(len, lines)) < _MOST_LETTERS
    assert not any(re.search(r";|\blambda\b|:=", line) for line in lines)


# --- 1: spread by hour ---


def test_spreads_by_the_hour_are_means_over_the_time_that_is_known() -> None:
    found = to_pandas(done(_SPREAD)["spreads"])

    assert set(found["token_id"]) == set(tokens_of(0))
    assert (found["covered"] < 1).all()
    for row in found.itertuples():
        mean, known, stood = _spread(str(row.token_id), int(row.start))
        assert (row.spread, row.known_spread, row.covered) == pytest.approx((mean, known, stood), rel=1e-9)
        assert (row.slug, row.outcome) == _names(str(row.token_id))


def _spread(token: str, hour: int) -> tuple[float, float, float]:
    quotes, gaps, end = tokens_of(0)[token], gaps_of(0, token), min(hour + _HOUR, last_of(0))
    edges = sorted({hour, end, *quotes.times.tolist(), *(edge for gap in gaps for edge in gap)})
    pieces = [(a, b) for a, b in pairwise(edges) if hour <= a and b <= end]
    counted = [(a, b) for a, b in pieces if a >= quotes.times[0] and not touches(gaps, a, b)]
    spread = quotes.value("spread", [a for a, _ in counted])
    length = np.array([b - a for a, b in counted], dtype=float)
    known = ~np.isnan(spread)
    mean = float((spread * length)[known].sum() / length[known].sum())
    return mean, float(length[known].sum()) / _HOUR, float(length.sum()) / _HOUR


def _names(token: str) -> tuple[str, str]:
    market = next(market for market in recordings()[0].markets if token in market.token_ids)
    return market.slug, market.outcomes[market.token_ids.index(token)]


# --- 2: event study ---


def test_the_event_study_is_of_medians_over_events_that_no_gap_touches() -> None:
    study = to_pandas(done(_NEWS)["study"])
    news = to_pandas(done(_NEWS)["news"].cast({"ts_recv": pl.Datetime("ns", "UTC")}))
    events = [(token_of(row.slug, row.outcome), int(row.ts_recv)) for row in news.itertuples()]
    before, after = -60 * _SECOND, 120 * _SECOND
    whole = [(token, at) for token, at in events if not touches(gaps_of(0, token), at + before, at + after)]

    assert 0 < len(whole) < len(events)
    for row in study[study["value"] == "spread"].itertuples():
        spreads = pd.Series([tokens_of(0)[token].value("spread", [at + int(row.offset)])[0] for token, at in whole])
        assert row.n == spreads.count()
        assert row.median == pytest.approx(spreads.median(), abs=1e-12)


def test_news_widens_the_spread_beyond_what_random_times_show() -> None:
    study = to_pandas(done(_NEWS)["study"])
    spread = study[study["value"] == "spread"].set_index("offset")

    assert spread["median"][2 * _SECOND] > spread["null_high"][2 * _SECOND]
    assert (spread["null_low"] <= spread["null_median"]).all()
    before = spread[spread.index < 0]
    assert (before["median"] <= before["null_high"] + 1e-9).mean() > 0.9


# --- 3: imbalance ---


def test_the_regression_is_of_changes_that_no_gap_touches_with_errors_that_overlap() -> None:
    token = token_of(_BILL, "Yes")
    quotes, gaps, last = tokens_of(0)[token], gaps_of(0, token), last_of(0)
    first, end = int(quotes.times[0]), int(quotes.times[-1])
    grid = [at for at in range(first // _SECOND * _SECOND, end + 1, _SECOND) if at >= first]
    size = quotes.rows["best_bid_size"], quotes.rows["best_ask_size"]
    quotes.rows["imbalance"] = (size[0] - size[1]) / (size[0] + size[1])
    now = pd.DataFrame({"at": grid, "x": quotes.value("imbalance", grid), "mid": quotes.value("mid", grid)})
    later = [at + 10 * _SECOND for at in grid]
    now["y"] = quotes.value("mid", later) - now["mid"]
    usable = [at <= grid[-1] and not touches(gaps, before, at) for before, at in zip(grid, later, strict=True)]
    inside = [touches(gaps, at, at) or touches(gaps, ahead, ahead) for at, ahead in zip(grid, later, strict=True)]
    rows = now[np.array(usable) & ~np.array(inside)].dropna()

    fit = done(_IMBALANCE)["fit"]

    assert last >= end
    assert len(rows) < len(grid) - 10
    slope, intercept = linear_regression(rows["x"].to_list(), rows["y"].to_list())
    assert (fit.n, fit.slope, fit.intercept) == pytest.approx((len(rows), slope, intercept), rel=1e-9)
    assert fit.stderr == pytest.approx(_newey_west(rows, slope, intercept, lags=9), rel=1e-9)
    assert fit.r2 == pytest.approx(rows["x"].corr(rows["y"]) ** 2, rel=1e-9)


def _newey_west(rows: Table, slope: float, intercept: float, *, lags: int) -> float:
    """Give the slope's error by the sandwich of matrices."""
    x = np.column_stack([np.ones(len(rows)), rows["x"]])
    scores = x * (rows["y"] - intercept - slope * rows["x"]).to_numpy()[:, None]
    meat = scores.T @ scores
    for lag in range(1, lags + 1):
        both = scores[lag:].T @ scores[:-lag]
        meat += (1 - lag / (lags + 1)) * (both + both.T)
    bread = np.linalg.inv(x.T @ x)
    return float(np.sqrt((bread @ meat @ bread)[1, 1]))


# --- 4: slippage ---


def test_costs_of_orders_are_quartiles_over_books_with_a_mid() -> None:
    ladders = recordings()[0].depth(_BILL, outcome="Yes", every="1s", levels=50)
    books = [row for row in ladders.to_dicts() if row["bid_prices"] and row["ask_prices"]]
    costs = to_pandas(done(_COST)["costs"])

    assert len(books) < ladders.height
    assert [*costs["side"]] == ["buy"] * 3 + ["sell"] * 3
    for row in costs.itertuples():
        each = pd.Series([_cost(book, str(row.side), float(row.amount)) for book in books])
        assert row.books == len(books)
        assert row.filled == pytest.approx(np.isfinite(each).mean())
        for column, part in (("cents_low", 0.25), ("cents", 0.5), ("cents_high", 0.75)):
            assert _same(getattr(row, column), _quantile(each, part))


def _cost(book: dict[str, Any], side: str, shares: float) -> float:
    """Give cents a share against the mid, and infinity where the book holds less."""
    name, sign = ("ask", 1) if side == "buy" else ("bid", -1)
    left, paid = shares, 0.0
    for price, size in zip(book[f"{name}_prices"], book[f"{name}_sizes"], strict=True):
        taken = min(size, left)
        left, paid = left - taken, paid + taken * price
    mid = (book["bid_prices"][0] + book["ask_prices"][0]) / 2
    return 100 * sign * (paid / shares - mid) if left < 1e-6 else np.inf


def _quantile(values: Column, part: float) -> float:
    """Give a quantile by lines between sorted values, NaN where one of the two is infinite."""
    ordered = np.sort(values.to_numpy(dtype=float))
    place = part * (len(ordered) - 1)
    low, high = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
    return float(low + (place % 1) * (high - low)) if np.isfinite(high) else np.nan


def _same(found: float, expected: float) -> bool:
    return (np.isnan(found) and np.isnan(expected)) or found == pytest.approx(expected, abs=1e-9)


# --- 5: market making ---


def test_the_profit_of_the_maker_is_what_its_fills_and_the_last_mid_make() -> None:
    made, token = done(_MAKER)["made"], token_of(_BILL, "Yes")
    fills = to_pandas(made.fills)
    sign = np.where(fills["side"] == "buy", 1, -1)
    book = recordings()[0].book_at(token, recordings()[0].last_time or 0)

    held, cash = float((sign * fills["size"]).sum()), -float((sign * fills["size"] * fills["price"]).sum())

    assert book.mid is not None
    assert done(_MAKER)["profit"] == pytest.approx(cash + held * book.mid)
    assert np.abs(np.cumsum(sign * fills["size"])).max() <= 100 + 1e-9
    assert (fills["size"] <= 20 + 1e-9).all()


def test_every_fill_of_the_maker_is_of_a_trade_that_reached_its_price_outside_of_gaps() -> None:
    fills, token = to_pandas(done(_MAKER)["made"].fills), token_of(_BILL, "Yes")
    trades = to_pandas(recordings()[0].trades)
    ours = trades[trades["slug"] == _BILL].copy()
    other = ours["token_id"] != token
    ours["buys"] = (ours["side"] == "buy") != other
    ours.loc[other, "price"] = 1 - ours.loc[other, "price"]

    assert len(fills) > 50
    for at, part in fills.groupby("ts_recv"):
        cause = ours[ours["ts_recv"] == at]
        buys, price = part["side"].iloc[0] == "buy", part["price"].iloc[0]
        reached = (cause["price"] <= price + 1e-9) if buys else (cause["price"] >= price - 1e-9)
        assert part["size"].sum() <= cause["size"][reached & (cause["buys"] != buys)].sum() + 1e-9
        assert not touches(gaps_of(0, token), int(at), int(at))


def test_markouts_are_moves_of_the_mid_after_fills() -> None:
    quotes = tokens_of(0)[token_of(_BILL, "Yes")]
    later = to_pandas(done(_MAKER)["later"])

    lost = 0
    for row in later.itertuples():
        at, until = int(row.ts_recv), int(row.ts_recv) + int(row.horizon)
        sign = 1 if row.side == "buy" else -1
        expected = sign * (quotes.value("mid", [until])[0] - float(row.price))
        known = until <= last_of(0) and not touches(gaps_of(0, str(row.token_id)), at, until)
        lost += not known
        assert _same(float(row.markout), expected if known else np.nan)
    assert 0 < lost < len(later) / 2


# --- 6: calibration ---


def test_calibration_is_of_the_mids_that_were_known_two_minutes_before() -> None:
    ends = to_pandas(recordings()[1].outcomes())
    ups = ends[ends["outcome"] == "Up"]
    asked = [(str(row.token_id), int(row.resolved_at) - 2 * _MINUTE, bool(row.winner)) for row in ups.itertuples()]
    known = [each for each in asked if not touches(gaps_of(1, each[0]), each[1], each[1])]
    p = np.array([tokens_of(1)[token].value("mid", [at])[0] for token, at, _ in known])
    y = np.array([float(won) for _, _, won in known])

    scores, table = done(_CALIBRATION)["scores"], to_pandas(done(_CALIBRATION)["table"])

    assert len(known) == len(asked) - 1
    assert scores.n == len(known)
    assert scores.brier == pytest.approx(float(np.mean((p - y) ** 2)))
    bins = pd.cut(p, np.arange(11) / 10, right=True, include_lowest=True, labels=False)
    means = pd.DataFrame({"bin": bins, "p": p, "y": y}).groupby("bin").mean()
    filled = table[table["n"] > 0].set_index("bin")
    assert filled["forecast"].to_numpy() == pytest.approx(means["p"].to_numpy())
    assert filled["outcome"].to_numpy() == pytest.approx(means["y"].to_numpy())
    count = filled["n"].to_numpy(dtype=float)
    reliability = float((count * (means["p"] - means["y"]).to_numpy() ** 2).sum() / len(known))
    assert scores.reliability == pytest.approx(reliability)


# --- 7: lead and lag ---


def test_the_correlation_at_each_lag_is_of_changes_that_no_gap_touches() -> None:
    book, reference = (to_pandas(done(_LEAD)[name]) for name in ("book", "reference"))
    gaps = [(int(a), int(b)) for a, b in to_pandas(done(_LEAD)["gaps"])[["started", "ended"]].to_numpy()]
    step = 250 * 10**6
    first = max(int(each["ts_recv"].iloc[0]) for each in (book, reference))
    last = min(int(each["ts_recv"].iloc[-1]) for each in (book, reference))
    grid = pd.DataFrame({"ts_recv": np.arange(-(-first // step), last // step + 1, dtype=np.int64) * step})
    dx, dy = (_moves(grid, each.drop_duplicates("ts_recv", keep="last"), gaps) for each in (reference, book))

    curve = to_pandas(done(_LEAD)["curve"])

    assert dx.isna().sum() > 40
    for row in curve.itertuples():
        pairs = pd.DataFrame({"x": dx, "y": dy.shift(-(int(row.lag) // step))}).dropna()
        expected = (pairs["x"] * pairs["y"]).sum() / sqrt((pairs["x"] ** 2).sum() * (pairs["y"] ** 2).sum())
        assert (row.n, row.corr) == pytest.approx((len(pairs), expected), rel=1e-9)
    assert -2.25 <= curve["lag"][curve["corr"].idxmax()] / _SECOND <= -1.75


def _moves(grid: Table, ticks: Table, gaps: Spans) -> Column:
    """Give the change over each step, which belongs to its end; NaN where a gap touches it."""
    at = pd.merge_asof(grid, ticks.sort_values("ts_recv"), on="ts_recv")
    moved = at[at.columns[1]].diff()
    cut = [touches(gaps, int(end) - 250 * 10**6, int(end)) for end in grid["ts_recv"]]
    return moved.mask(np.array(cut)).iloc[1:].reset_index(drop=True)


# --- 8: sets ---


def test_sums_over_the_markets_of_an_event_are_of_quotes_that_stand_outside_of_gaps() -> None:
    legs = [token_of(market.slug, "Yes") for market in recordings()[0].markets if market.event_slug == _CHAIR]
    sums = to_pandas(done(_SUMS)["sums"])
    asks = np.column_stack([_standing(leg, "best_ask", sums) for leg in legs])
    sizes = np.column_stack([_standing(leg, "best_ask_size", sums) for leg in legs])
    total = asks.sum(axis=1)
    net = 1 - total - (0.04 * asks * (1 - asks)).sum(axis=1)

    assert len(legs) == 4
    assert 0 < np.isnan(total).sum() < len(sums) / 5
    assert sums["yes_buy_sum"].to_numpy(dtype=float) == pytest.approx(total, nan_ok=True)
    assert sums["yes_buy_net"].to_numpy(dtype=float) == pytest.approx(net, nan_ok=True)
    free = to_pandas(done(_SUMS)["free"])
    expected = list(_runs(sums, net, sizes.min(axis=1)))
    found = free[free["trade"] == "yes_buy"]
    assert [*found["start"]] == [start for start, _, _ in expected]
    assert found["duration_ms"].to_numpy() == pytest.approx([length for _, length, _ in expected])
    assert found["dollars"].to_numpy() == pytest.approx([dollars for _, _, dollars in expected])


def _standing(token: str, column: str, steps: Table) -> Floats:
    gaps, values = gaps_of(0, token), tokens_of(0)[token].value(column, steps["start"])
    lost = [touches(gaps, int(start), int(end)) for start, end in steps[["start", "end"]].to_numpy()]
    return np.where(lost, np.nan, values)


def _runs(steps: Table, net: Floats, size: Floats) -> Iterator[tuple[int, float, float]]:
    """Give start, milliseconds and dollars at the best moment of each stretch with a profit."""
    over = pd.Series(net > 0)
    for _, part in steps[over].groupby((over != over.shift()).cumsum()[over]):
        at = part.index[np.argmax(net[part.index])]
        length = (part["end"].iloc[-1] - part["start"].iloc[0]) / 1e6
        yield int(part["start"].iloc[0]), float(length), float(net[at] * size[at])


# --- 9: signs ---


def test_agreement_of_signs_is_that_of_the_rules_as_they_are_written() -> None:
    trades = to_pandas(recordings()[0].trades.sort("token_id", "ts_recv", maintain_order=True))
    signs = trades.assign(feed=np.where(trades["side"] == "buy", 1.0, -1.0), tick=np.nan, lee_ready=np.nan)
    for token, part in signs.groupby("token_id"):
        signs.loc[part.index, "tick"] = _tick_rule(part, gaps_of(0, str(token)))
        signs.loc[part.index, "lee_ready"] = _lee_ready(signs.loc[part.index], str(token))
    agreement = to_pandas(done(_SIGNS)["agreement"]).set_index(["method", "other"])

    for one, other in (("feed", "tick"), ("feed", "lee_ready"), ("tick", "lee_ready")):
        both = signs.dropna(subset=[one, other])
        same = both[both[one] == both[other]]
        row = agreement.loc[one, other]
        assert (row["n"], row["left_out"]) == (len(both), len(signs) - len(both))
        assert row["share_of_trades"] == pytest.approx(len(same) / len(both))
        assert row["share_of_volume"] == pytest.approx(same["size"].sum() / both["size"].sum())
    assert agreement.loc["feed", "bulk_volume"]["share_of_volume"] == pytest.approx(_bulk_agreement(signs))


def _parts(trades: Table, gaps: Spans) -> Sequence[int]:
    """Number the stretches of a token's trades between which a gap lies."""
    times = trades["ts_recv"].to_list()
    cuts = [touches(gaps, before, at) for before, at in pairwise(times)]
    return np.cumsum([False, *cuts]).tolist()


def _tick_rule(trades: Table, gaps: Spans) -> Column:
    part = _parts(trades, gaps)
    moved = np.sign(trades["price"].groupby(part).diff().round(9)).replace(0.0, np.nan)
    return moved.groupby(part).ffill()


def _lee_ready(trades: Table, token: str) -> Column:
    quotes, gaps = tokens_of(0)[token], gaps_of(0, token)
    # Only what came before the trade had been received: a quote of the same instant does not count.
    before = trades["ts_recv"] - 1
    lost = np.array([touches(gaps, int(at), int(at) + 1) for at in before])
    mid = np.where(lost, np.nan, quotes.value("mid", before))
    quoted = np.sign((trades["price"] - mid).round(9)).replace(0.0, np.nan)
    return quoted.fillna(trades["tick"])


def _bulk_agreement(trades: Table) -> float:
    agreed = volume = 0.0
    for token, rows in trades.groupby("token_id"):
        part = rows.assign(bar=rows["ts_recv"] // _MINUTE, part=_parts(rows, gaps_of(0, str(token))))
        bars = part.groupby("bar").agg(price=("price", "last"), part=("part", "last"), size=("size", "sum"))
        bought = (part["size"] * (part["feed"] > 0)).groupby(part["bar"]).sum()
        moved = bars["price"].diff().where(bars["part"].diff() == 0)
        share = (moved / moved.std()).dropna().map(NormalDist().cdf)
        size, guessed, told = bars["size"][share.index], share * bars["size"][share.index], bought[share.index]
        agreed += float((np.minimum(guessed, told) + np.minimum(size - guessed, size - told)).sum())
        volume += float(size.sum())
    return agreed / volume


# --- 10: liquidity ---


def test_what_rests_before_the_end_is_the_median_of_markets_that_no_gap_touches() -> None:
    depth = to_pandas(recordings()[1].depth.with_columns())
    ends = to_pandas(recordings()[1].outcomes()).drop_duplicates("token_id")
    offsets = range(-5 * _MINUTE, 1, 30 * _SECOND)
    last = int(depth["ts_recv"].max())
    rows: list[dict[str, float]] = []
    for token, part in depth.groupby("token_id"):
        at = int(ends.loc[ends["token_id"] == token, "resolved_at"].iloc[0])
        # A connection's gap concerns what it carried at any time.
        if touches(gaps_of(1, str(token)), at + offsets[0], at):
            continue
        ladders = Quotes(part["ts_recv"].to_numpy(dtype=np.int64), part.reset_index(drop=True))
        rows += [_near(ladders, at + offset, last) | {"offset": offset} for offset in offsets]

    found = to_pandas(done(_LIQUIDITY)["depth"]).set_index("offset")

    expected = pd.DataFrame(rows).groupby("offset").median()
    assert [*found.index] == [*expected.index]
    assert found["depth_bid"].to_numpy(dtype=float) == pytest.approx(expected["depth_bid"].to_numpy(), nan_ok=True)
    assert found["depth_ask"].to_numpy(dtype=float) == pytest.approx(expected["depth_ask"].to_numpy(), nan_ok=True)
    assert found["depth_bid"].notna().sum() > 5
    touched = done(_LIQUIDITY)["near"].filter(touched=True)["token_id"].n_unique()
    assert 1 < touched < len(ends)


def _near(ladders: Quotes, at: int, last: int) -> dict[str, float]:
    """Give the shares within two cents of the mid on both sides; NaN without a mid or a row."""
    place = int(np.searchsorted(ladders.times, at, side="right")) - 1
    nothing = {"depth_bid": np.nan, "depth_ask": np.nan}
    if place < 0 or at > last:
        return nothing
    book = ladders.rows.iloc[place]
    if not len(book["bid_prices"]) or not len(book["ask_prices"]):
        return nothing
    mid = (book["bid_prices"][0] + book["ask_prices"][0]) / 2
    return {
        f"depth_{side}": float(book[f"{side}_sizes"][np.abs(book[f"{side}_prices"] - mid) <= 0.02 + 1e-9].sum())
        for side in ("bid", "ask")
    }
