"""A dashboard as text, for terminals and readers of notebooks without pictures: a line of prices, and a book."""

from bisect import bisect_right

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
    times: list[int] = rows["ts_recv"].dt.epoch("ns").to_list()
    mids: list[float] = rows["mid"].to_list()
    whole = max(now, times[-1]) - times[0]
    ends = [times[0] + whole * number // _WIDTH for number in range(1, _WIDTH + 1)]
    shown = [mids[bisect_right(times, end) - 1] for end in ends]
    open_until: list[tuple[int, int]] = gaps.select(
        pl.col("started").dt.epoch("ns"), pl.col("ended").dt.epoch("ns").fill_null(now + 1)
    ).rows()
    known = [not any(started <= end < ended for started, ended in open_until) for end in ends]
    decimals = price_decimals([min(shown), max(shown)])
    line = sparkline([mid if is_known else None for mid, is_known in zip(shown, known, strict=True)])
    reach = f"{min(shown):.{decimals}f} to {max(shown):.{decimals}f}"
    return [f"mid from {clock(moment(times[0]))} on, {reach}", line, " "]
