"""The data of charts and tables, as plain values: pure functions of frames and books.

Times in views are milliseconds since 1970, as browsers count them; what is null in a frame is NaN in an array.
``doubt`` says why a book cannot be trusted, "" where it can.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NotRequired, TypeAlias, TypedDict

import numpy as np
import polars as pl

from pmlive.gaps import concerning
from pmlive.manager import BookView
from pmlive.manager.ingest import ConnectionStatus, ReplayStatus
from pmlive.manager.snapshots import short_label
from pmlive.manager.subscriptions import BookCounts, Status, SubscriptionStatus
from pmlive.store import RecorderStatus
from pmlive.words import counted

__all__ = [
    "HEAT_ROWS",
    "LEVELS",
    "PRICE_ROWS",
    "SHADED",
    "SLICES",
    "ChartView",
    "DepthView",
    "GapView",
    "HeatView",
    "Numbers",
    "PriceView",
    "RecordingView",
    "StatusView",
    "TapeView",
    "View",
    "append_prices",
    "append_slices",
    "depth_view",
    "first_of",
    "gap_view",
    "heat_view",
    "interruptions",
    "price_view",
    "recording_view",
    "status_view",
    "tape_view",
]

Numbers: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
View: TypeAlias = Mapping[str, object]
# The indices of rows in a frame.
_Rows: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.intp]]

# The best levels of a side that a liquidity chart has: its half of a row has as many columns, whatever the book.
LEVELS = 10

# The arrays of a view that have an element, or a row, for each row of a table.
PRICE_ROWS: Final = ("times", "bids", "asks", "mids", "trade_times", "trade_prices", "trade_sizes", "trade_buys")
HEAT_ROWS: Final = ("times", "prices", "sizes")

# So many of the last gaps are shaded.
SHADED = 200
# The most rows that are shown of prices, trades and ladders.
_POINTS, _LADDERS = 50_000, 50_000
# So many slices fill a chart; a recording's day fits in with slices that are longer.
SLICES = 600
_PRICES, _SIZES = ("bid_prices", "ask_prices"), ("bid_sizes", "ask_sizes")
_NO_RECORDER = RecorderStatus(
    folder="",
    rows={},
    frames=0,
    bytes=0,
    files=0,
    segments=0,
    pending_bytes=0,
    lag=0.0,
    last_sync=None,
    dropped=0,
    trouble=None,
)


class GapView(TypedDict):
    """Intervals to shade; one that lasts has no end, which is NaN."""

    gap_starts: Numbers
    gap_ends: Numbers
    gap_causes: list[str]


class ChartView(TypedDict):
    """What every chart of a token shows."""

    label: str
    doubt: str


class PriceView(ChartView, GapView):
    """Prices over time; each holds until the next, and is NaN where a side is empty.

    ``orders`` and ``fills`` are the user's own, as ``pmlive.widgets.own`` makes them. The chart ends at ``now``, or at
    the last price, and is ``window`` milliseconds long, or as long as there is to show where that is 0.
    """

    now: float
    window: float
    times: Numbers
    bids: Numbers
    asks: Numbers
    mids: Numbers
    trade_times: Numbers
    trade_prices: Numbers
    trade_sizes: Numbers
    # 1 where the taker bought.
    trade_buys: Numbers
    orders: NotRequired[Numbers]
    fills: NotRequired[Numbers]
    # The price that was marked, if one was.
    marked: NotRequired[float | None]


def price_view(  # noqa: PLR0913  # all but three are by name
    prices: pl.DataFrame,
    trades: pl.DataFrame,
    gaps: pl.DataFrame,
    *,
    token_id: str,
    label: str,
    now_ms: float,
    window_ms: float = 0.0,
    doubt: str = "",
    most: int = _POINTS,
) -> PriceView:
    """Make a view of the last prices of a token, ``most`` at most, and of a tenth as many trades."""
    quoted, traded = _rows_of(prices, token_id, most), _rows_of(trades, token_id, max(most // 10, 1))
    return {
        "label": label,
        "doubt": doubt,
        "now": now_ms,
        "window": window_ms,
        "times": _milliseconds(prices, "ts_recv", quoted),
        "bids": _numbers(prices, "best_bid", quoted),
        "asks": _numbers(prices, "best_ask", quoted),
        "mids": _numbers(prices, "mid", quoted),
        "trade_times": _milliseconds(trades, "ts_recv", traded),
        "trade_prices": _numbers(trades, "price", traded),
        "trade_sizes": _numbers(trades, "size", traded),
        "trade_buys": _flags(trades, "side", traded, "buy"),
        **gap_view(gaps, token_id),
    }


def append_prices(before: PriceView, new: PriceView, *, most: int) -> PriceView:
    """Append the rows of a view to those of the one before; the rest is as in the new one."""
    joined = new.copy()
    for name in PRICE_ROWS:
        joined[name] = np.concatenate([before[name], new[name]])[-most:]
    return joined


class HeatView(ChartView, GapView):
    """Ladders over time, in slices; each has the last book in it, and holds until the next one begins.

    ``prices`` and ``sizes`` have a row a slice: ten best bids, then ten best asks, NaN where there are fewer.
    Slices begin at multiples of ``slice`` milliseconds, so one that comes again replaces the one before.
    """

    now: float
    window: float
    slice: float
    times: Numbers
    prices: Numbers
    sizes: Numbers
    marked: NotRequired[float | None]


def heat_view(
    depth: pl.DataFrame,
    gaps: pl.DataFrame,
    *,
    token_id: str,
    label: str,
    now_ms: float,
    window_ms: float = 0.0,
    slice_ms: int = 500,
    doubt: str = "",
) -> HeatView:
    """Make a view of the last ladders of a token."""
    rows = _rows_of(depth, token_id, _LADDERS)
    slices = _milliseconds(depth, "ts_recv", rows) // slice_ms * slice_ms
    last = _last_of_each(slices)[-SLICES:]
    prices, sizes = (_matrix([depth[name] for name in some], rows[last]) for some in (_PRICES, _SIZES))
    return {
        "label": label,
        "doubt": doubt,
        "now": now_ms,
        "window": window_ms,
        "slice": float(slice_ms),
        "times": slices[last],
        "prices": prices,
        "sizes": sizes,
        **gap_view(gaps, token_id),
    }


def first_of(depth: pl.DataFrame, token_id: str) -> int | None:
    """Return when the first ladder of a token came of which there can be a slice, in nanoseconds since 1970."""
    rows = _rows_of(depth, token_id, _LADDERS)[:1]
    return int(_milliseconds(depth, "ts_recv", rows)[0] * 1e6) if len(rows) else None


def append_slices(before: HeatView, new: HeatView, *, most: int) -> HeatView:
    """Append slices to those of the view before; one that comes again replaces the one before."""
    again = len(before["times"]) > 0 and len(new["times"]) > 0 and bool(before["times"][-1] == new["times"][0])
    joined = new.copy()
    for name in HEAT_ROWS:
        kept = before[name][:-1] if again else before[name]
        joined[name] = np.concatenate([kept, new[name]])[-most:]
    return joined


class DepthView(ChartView):
    """A book, the best levels first; ``bid_totals`` sums the sizes from the best price on.

    ``state`` is that of the book, such as ``verified``. Where a side is empty it has no price, and there is no ``mid``.
    """

    state: str
    mid: float | None
    spread: float | None
    bid_prices: Numbers
    bid_sizes: Numbers
    bid_totals: Numbers
    ask_prices: Numbers
    ask_sizes: Numbers
    ask_totals: Numbers


def depth_view(book: BookView | None, *, label: str, doubt: str = "") -> DepthView:
    """Make a view of a book, or of why it cannot be shown."""
    bids = _columns([] if book is None else book.bids)
    asks = _columns([] if book is None else book.asks)
    return {
        "label": label,
        "doubt": doubt,
        "state": "stale" if book is None else book.state,
        "mid": None if book is None else book.mid,
        "spread": None if book is None else book.spread,
        "bid_prices": bids[0],
        "bid_sizes": bids[1],
        "bid_totals": np.cumsum(bids[1]),
        "ask_prices": asks[0],
        "ask_sizes": asks[1],
        "ask_totals": np.cumsum(asks[1]),
    }


class TapeView(TypedDict):
    """Trades, the newest first: when, of what, at which price and size, and what the taker did.

    ``label`` is the name of the token whose trades they are; "" where they are of all, whose times have no parts of
    seconds.
    """

    label: str
    times: list[str]
    labels: list[str]
    prices: list[float]
    sizes: list[float]
    sides: list[str]


def tape_view(
    trades: pl.DataFrame, labels: Mapping[str, str], *, token_id: str | None = None, most: int = 30
) -> TapeView:
    """Make a view of the last trades of a token, or of all."""
    rows = (trades if token_id is None else trades.filter(pl.col("token_id") == token_id)).tail(most).reverse()
    return {
        "label": "" if token_id is None else _label(token_id, labels),
        "times": rows["ts_recv"].dt.strftime("%H:%M:%S" if token_id is None else "%H:%M:%S%.3f").to_list(),
        "labels": [_label(each, labels) for each in rows["token_id"]],
        "prices": rows["price"].to_list(),
        "sizes": rows["size"].to_list(),
        "sides": rows["side"].cast(pl.String).to_list(),
    }


class StatusView(TypedDict):
    """``lag`` is from the venue's clock to ours in seconds, ``rate`` is messages a second; None while unknown.

    ``gaps`` counts interruptions: a cut of a connection is one, however many books it concerns.
    """

    now: str
    playing: str
    connections: dict[str, ConnectionStatus]
    subscriptions: list[SubscriptionStatus]
    events: int
    rate: float | None
    lag: float | None
    tokens: int
    trusted: int
    verified: int
    unverifiable: int
    mismatches: int
    open_gaps: int
    gaps: int
    last_gap: str


class RecordingView(TypedDict):
    """What a recorder wrote; ``waiting`` is bytes not written yet, ``free`` those that the disk has left."""

    recording: bool
    folder: str
    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    waiting: int
    lag: float
    dropped: int
    trouble: str
    free: int | None


def status_view(
    status: Status,
    gaps: pl.DataFrame,
    prices: pl.DataFrame,
    *,
    now_ns: int,
    before: tuple[int, int] | None = None,
) -> StatusView:
    """Make a view of the state of a manager.

    Args:
        status: its state.
        gaps: all gaps that are known.
        prices: the newest rows, for the lag.
        now_ns: the time, in nanoseconds since 1970.
        before: an earlier time and the number of messages that there were then, for the rate.
    """
    books, events = status.books or BookCounts(), status.statistics.total_events
    checks, cuts = books.checks, interruptions(gaps)
    return {
        "now": pl.Series([now_ns]).cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%d %H:%M:%S")[0],
        "playing": "" if status.replay is None else _replay_text(status.replay),
        "connections": {"clob": status.connections.clob, "realtime": status.connections.realtime},
        "subscriptions": status.subscriptions.active,
        "events": events,
        "rate": _rate(now_ns, events, before),
        "lag": _median_lag_s(prices),
        "tokens": books.tokens,
        "trusted": books.trusted,
        "verified": checks.hash_verified,
        "unverifiable": checks.hash_unverifiable,
        "mismatches": checks.mismatches,
        "open_gaps": cuts["ended"].null_count(),
        "gaps": cuts.height,
        "last_gap": _last_gap_text(cuts),
    }


def recording_view(recorder: RecorderStatus | None, *, free: int | None = None) -> RecordingView:
    """Make a view of the recording, if there is one; ``free`` is the bytes that the disk has left."""
    recorder = recorder or _NO_RECORDER
    return {
        "recording": bool(recorder.folder),
        "folder": Path(recorder.folder).name,
        "rows": {table: rows for table, rows in recorder.rows.items() if rows},
        "frames": recorder.frames,
        "bytes": recorder.bytes,
        "files": recorder.files,
        "waiting": recorder.pending_bytes,
        "lag": recorder.lag,
        "dropped": recorder.dropped,
        "trouble": recorder.trouble or "",
        "free": free,
    }


def gap_view(gaps: pl.DataFrame, token_id: str) -> GapView:
    """Return the gaps of a token, and those of everything, such as a full disk.

    What befalls a connection is a gap of each token on it, too, so those of connections are left out.
    """
    if gaps.is_empty():
        return {"gap_starts": np.empty(0), "gap_ends": np.empty(0), "gap_causes": []}
    last = concerning(gaps, token_id, ()).to_numpy().nonzero()[0][-SHADED:]
    return {
        "gap_starts": _milliseconds(gaps, "started", last),
        "gap_ends": _milliseconds(gaps, "ended", last),
        "gap_causes": [gaps["cause"][at] for at in last.tolist()],
    }


def _rows_of(frame: pl.DataFrame, token_id: str, most: int) -> _Rows:
    """Return the indices of the last rows of a token.

    Charts are made of a few rows many times a second: queries, and filters of columns, cost many times as much as they.
    """
    return (frame["token_id"] == token_id).to_numpy().nonzero()[0][-most:]


def _milliseconds(frame: pl.DataFrame, name: str, at: _Rows) -> Numbers:
    """Return times as milliseconds since 1970."""
    times = _column(frame, name, at).astype("datetime64[ns]")
    return np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e6)


def _numbers(frame: pl.DataFrame, name: str, at: _Rows) -> Numbers:
    """Return numbers."""
    return _column(frame, name, at).astype(np.float64)


def _flags(frame: pl.DataFrame, name: str, at: _Rows, word: str) -> Numbers:
    """Return 1 where a column has a word, and 0 where it has another."""
    return (_column(frame, name, at) == word).astype(np.float64)


def _column(frame: pl.DataFrame, name: str, at: _Rows) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    return frame[name].to_numpy()[at] if len(at) else np.empty(0)


def _last_of_each(slices: Numbers) -> _Rows:
    """Return the index of the last row of each slice, in order."""
    _, from_end = np.unique(slices[::-1], return_index=True)
    return np.sort(len(slices) - 1 - from_end)


def _matrix(sides: Sequence[pl.Series], rows: _Rows) -> Numbers:
    """Put the lists of both sides, of different lengths, into rows of one array."""
    matrix = np.full((len(rows), len(sides) * LEVELS), np.nan)
    for begin, lists in zip(range(0, matrix.shape[1], LEVELS), sides, strict=True):
        for row, at in enumerate(rows.tolist()):
            best = lists[at].to_numpy()[:LEVELS]
            matrix[row, begin : begin + len(best)] = best
    return matrix


def _columns(levels: Sequence[tuple[float, float]]) -> tuple[Numbers, Numbers]:
    prices = np.array([price for price, _ in levels], dtype=np.float64)
    sizes = np.array([size for _, size in levels], dtype=np.float64)
    return prices, sizes


def _label(token_id: str, labels: Mapping[str, str]) -> str:
    return labels.get(token_id) or short_label(token_id)


def _replay_text(replay: ReplayStatus) -> str:
    if replay.finished:
        return "replay, finished"
    return "replay, paused" if replay.paused else f"replay, speed {replay.speed}"


def _rate(now_ns: int, events: int, before: tuple[int, int] | None) -> float | None:
    """Return the messages a second since an earlier time; None without one, and after a jump back."""
    if before is None or now_ns <= before[0] or events < before[1]:
        return None
    return (events - before[1]) / (now_ns - before[0]) * 1e9


def _median_lag_s(prices: pl.DataFrame) -> float | None:
    lag = prices.select((pl.col("ts_recv") - pl.col("ts_event")).median().dt.total_microseconds())[0, 0]
    return None if lag is None else int(lag) / 1e6


def _last_gap_text(gaps: pl.DataFrame) -> str:
    if gaps.is_empty():
        return ""
    last = gaps.tail(1)
    started = last["started"].dt.strftime("%H:%M:%S")[0]
    ended = last["ended"].dt.strftime("%H:%M:%S")[0] or "now"
    books = int(last["books"][0])
    told = f", {counted(books, 'book')}" if books else ""
    return f"{last['cause'][0]}, {started} to {ended}{told}"


# --- interruptions ---
# What interrupted a feed: one cut of a connection is a gap of each token on it, and is counted once here.

# Of these the connection is the cause, whatever tokens it carried.
_OF_CONNECTIONS = ("disconnect", "silence")
# A long gap is written several times, without an end until it has one.
_KEY = ("started", "cause", "token_id", "conn")


def interruptions(gaps: pl.DataFrame) -> pl.DataFrame:
    """Return what happened, in order: ``cause``, ``started``, ``ended`` (null while it lasts) and how many ``books``.

    Gaps of a connection that overlap are one interruption, if a cut or a silence of it is their cause; any other gap is
    one by itself.

    Args:
        gaps: rows of the table ``gaps``, in the order in which they were written.
    """
    rows = gaps.unique(subset=_KEY, keep="last", maintain_order=True).sort("started", maintain_order=True)
    is_shared = pl.col("cause").cast(pl.String).is_in(_OF_CONNECTIONS) & (pl.col("conn") != 0)
    far = pl.col("ended").fill_null(pl.lit(pl.Series([2**62]).cast(gaps.schema["ended"])).first())
    conn = ("cause", "conn", "_shared")
    begins = (pl.col("started") > far.cum_max().shift().over(conn)).fill_null(value=True) | ~pl.col("_shared")
    numbered = rows.with_columns(_shared=is_shared).with_columns(_number=begins.cum_sum().over(conn))
    found = numbered.group_by("cause", "conn", "_shared", "_number", maintain_order=True).agg(
        pl.col("started").min(),
        pl.when(pl.col("ended").is_null().any()).then(None).otherwise(pl.col("ended").max()).alias("ended"),
        books=pl.col("token_id").n_unique() - pl.col("token_id").is_null().any(),
    )
    return found.select("cause", "started", "ended", "books").sort("started", maintain_order=True)
