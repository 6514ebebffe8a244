"""Tops of books and bars of trades, as they came and on a grid; nothing is carried over a gap."""

import numpy as np
import polars as pl

from pmlive.gaps import GapInterval
from pmlive.recording.contents import collect
from pmlive.recording.grids import TIME, Flags, Grid, within
from pmlive.recording.known import Known
from pmlive.recording.trust import Timeline

__all__ = ["bars", "prices", "sampled"]

_TOP = ("best_bid", "best_bid_size", "best_ask", "best_ask_size", "mid", "spread")


def prices(known: Known, token_id: str | None, start: int | None, end: int | None) -> pl.DataFrame:
    """Read the changes of tops."""
    rows = known.contents.scan("prices", since=start, until=None if end is None else end - 1)
    return collect(known.contents, "prices", rows if token_id is None else rows.filter(pl.col("token_id") == token_id))


def sampled(known: Known, token_id: str | None, grid: Grid) -> pl.DataFrame:
    """Give the top of each book at the end of each interval, null where the book could not be trusted then."""
    chosen = sorted(known.timelines) if token_id is None else [token_id]
    tops = _tops(known, token_id, int(grid.lasts[-1]) if len(grid.lasts) else 0)
    parts = [_sampled(known, each, tops.filter(pl.col("token_id") == each), grid) for each in chosen]
    schema = {"time": TIME, "token_id": pl.String} | dict.fromkeys(_TOP, pl.Float64)
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def _sampled(known: Known, token_id: str, tops: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    timeline = known.timelines.get(token_id)
    lasts = pl.DataFrame({"time": grid.times, "last": pl.Series(grid.lasts).cast(TIME)})
    trusted = pl.Series(within([] if timeline is None else timeline.spans(), grid.lasts))
    joined = lasts.join_asof(tops.drop("token_id"), left_on="last", right_on="ts_recv")
    columns = [pl.when(trusted).then(pl.col(name)).otherwise(None).alias(name) for name in _TOP]
    return joined.select("time", pl.lit(token_id).alias("token_id"), *columns)


def _tops(known: Known, token_id: str | None, until: int) -> pl.DataFrame:
    """Read tops: those of keyframes too, for a part that has no change of them."""
    changed = known.contents.scan("prices", until=until).select("seq", "ts_recv", "token_id", *_TOP)
    bid, ask = pl.col("bid_prices").list.first(), pl.col("ask_prices").list.first()
    whole = known.contents.scan("keyframes", until=until).select(
        "seq",
        "ts_recv",
        "token_id",
        best_bid=bid,
        best_bid_size=pl.col("bid_sizes").list.first(),
        best_ask=ask,
        best_ask_size=pl.col("ask_sizes").list.first(),
        mid=((bid + ask) / 2).round(6),
        spread=(ask - bid).round(6),
    )
    both = [frame if token_id is None else frame.filter(pl.col("token_id") == token_id) for frame in (changed, whole)]
    found = [collect(known.contents, name, frame) for name, frame in zip(("prices", "keyframes"), both, strict=True)]
    return pl.concat(found).sort("ts_recv", "seq").drop("seq")


def bars(known: Known, token_id: str | None, grid: Grid) -> pl.DataFrame:
    """Make bars of trades; an interval without any has a volume of 0 and no prices."""
    chosen = sorted(known.timelines) if token_id is None else [token_id]
    if not len(grid.starts):
        chosen = []
    first, last = (int(grid.starts[0]), int(grid.lasts[-1])) if chosen else (0, 0)
    rows = known.contents.scan("trades", since=first, until=last)
    mine = rows if token_id is None else rows.filter(pl.col("token_id") == token_id)
    made = collect(known.contents, "trades", _bars(mine, grid.every))
    whole = [
        pl.DataFrame({"time": grid.times, "touched": pl.Series(_touched(known, each, grid))}).with_columns(
            token_id=pl.lit(each)
        )
        for each in chosen
    ]
    schema = {"time": TIME, "touched": pl.Boolean, "token_id": pl.String}
    frame = pl.concat(whole) if whole else pl.DataFrame(schema=schema)
    joined = frame.join(made, on=["time", "token_id"], how="left", maintain_order="left")
    return joined.select(
        "time",
        "token_id",
        "open",
        "high",
        "low",
        "close",
        pl.col("volume").fill_null(0.0),
        pl.col("trades").fill_null(0),
        "touched",
    )


def _bars(trades: pl.LazyFrame, every: int) -> pl.LazyFrame:
    start = (pl.col("ts_recv").dt.epoch("ns") // every * every).cast(TIME)
    return (
        trades.sort("seq")
        .group_by(start.alias("time"), "token_id")
        .agg(
            open=pl.col("price").first(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
            volume=pl.col("size").sum(),
            trades=pl.len(),
        )
    )


def _touched(known: Known, token_id: str, grid: Grid) -> Flags:
    """Tell in which intervals something may be missing: not trusted throughout, or a frame was lost there."""
    timeline = known.timelines.get(token_id)
    if timeline is None or not timeline.spans():
        return np.ones(len(grid.starts), dtype=np.bool_)
    spans = timeline.spans()
    starts, ends = np.array([span.start for span in spans]), np.array([span.end for span in spans])
    index = np.searchsorted(starts, grid.starts, side="right") - 1
    whole = (index >= 0) & (grid.lasts < ends[np.maximum(index, 0)])
    lost = np.array(sorted(_instants(timeline)), dtype=np.int64)
    struck = np.searchsorted(lost, grid.lasts, side="right") > np.searchsorted(lost, grid.starts)
    return ~whole | struck


def _instants(timeline: Timeline) -> list[int]:
    """List when single frames were lost."""

    def concerns(gap: GapInterval) -> bool:
        event = timeline.last(gap.started)
        return gap.until == gap.started and event is not None and gap.concerns(timeline.token_id, event.conn)

    return [gap.started for gap in timeline.gaps if concerns(gap)]
