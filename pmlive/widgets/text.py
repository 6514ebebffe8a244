"""A dashboard as text, for terminals and readers of notebooks without pictures: a line of prices, and a book."""

import numpy as np
import polars as pl

from pmlive.errors import FeedError
from pmlive.gaps import concerning
from pmlive.ladder import sparkline
from pmlive.levels import price_decimals
from pmlive.manager import Manager
from pmlive.manager.snapshots import Query
from pmlive.times import clock, moment

__all__ = ["text_picture"]

# The rows of all tokens that are looked at, and the characters of a line.
_NEWEST = 20_000
_WIDTH = 60


def text_picture(manager: Manager, token_id: str | None) -> str:
    """Return the recent middle prices of a token as a line, and its book as a ladder; "" where nothing can be asked."""
    if token_id is None:
        return ""
    try:
        (now,) = manager.snapshots([Query(tables={"prices": _NEWEST}, token_id=token_id)])
    except FeedError:
        return ""
    rows = now.tables["prices"].frame.filter(pl.col("token_id") == token_id).drop_nulls("mid")
    book = now.unavailable_because if now.book is None else str(now.book)
    label = now.labels.get(token_id, token_id) if now.book is None else ""
    gaps = now.gaps.filter(concerning(now.gaps, token_id, ()))
    return "\n".join(line for line in (*_line(rows, gaps, now.now), label, book) if line)


def _line(rows: pl.DataFrame, gaps: pl.DataFrame, now: int) -> list[str]:
    """Return what the line shows, and the line: the last price in each part of the time, nothing within a gap."""
    if rows.is_empty():
        return []
    times, mids = rows["ts_recv"].dt.epoch("ns").to_numpy(), rows["mid"].to_numpy()
    ends = np.linspace(times[0], max(now, times[-1]), _WIDTH + 1)[1:]
    shown = mids[np.searchsorted(times, ends, side="right") - 1]
    unknown = np.zeros(_WIDTH, dtype=bool)
    for started, ended in gaps.select(pl.col("started", "ended").dt.epoch("ns")).iter_rows():
        unknown |= (ends >= started) & (ends < (now + 1 if ended is None else ended))
    decimals = price_decimals([float(shown.min()), float(shown.max())])
    reach = f"{shown.min():.{decimals}f} to {shown.max():.{decimals}f}"
    line = sparkline([None if is_unknown else float(mid) for mid, is_unknown in zip(shown, unknown, strict=True)])
    return [f"mid from {clock(moment(int(times[0])))} on, {reach}", line, " "]
