"""Frames made by hand, and the numbers that analyses have to reproduce."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import polars as pl

START = 1_800_000_000_000_000_000
TIME = pl.Datetime("ns", "UTC")

_GOLDEN = Path(__file__).parent / "fixtures" / "golden.json"


def golden(part: str) -> dict[str, Any]:
    return cast("dict[str, dict[str, Any]]", msgspec.json.decode(_GOLDEN.read_bytes()))[part]


def same(found: float | None, expected: float | None) -> bool:
    """Tell whether both are None, or numbers that floats do not tell apart."""
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def times(milliseconds: Sequence[float | None], *, start: int = START) -> pl.Series:
    """Give times so many milliseconds after the start."""
    return pl.Series(
        [None if each is None else start + round(each * 1e6) for each in milliseconds], dtype=pl.Int64
    ).cast(TIME)


def ms(times: pl.Series) -> list[int | None]:
    """Read times, or lengths of time, as milliseconds (after the start)."""
    whole = times.cast(pl.Int64)
    return ((whole - (START if times.dtype == TIME else 0)) // 1_000_000).to_list()


def quotes(
    rows: Sequence[tuple[float, float | None, float | None, float | None, float | None]],
    *,
    token_id: str = "yes",
    conn: int = 1,
) -> pl.DataFrame:
    """Make rows of ``prices`` of milliseconds, bid, its size, ask and its size."""
    columns = ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
    values = {name: pl.Series([row[at + 1] for row in rows], dtype=pl.Float64) for at, name in enumerate(columns)}
    frame = pl.DataFrame({"ts_recv": times([row[0] for row in rows]), **values})
    bid, ask = pl.col("best_bid"), pl.col("best_ask")
    return frame.with_columns(
        token_id=pl.lit(token_id), conn=pl.lit(conn, dtype=pl.UInt32), mid=(bid + ask) / 2, spread=ask - bid
    )


def mids(points: Sequence[tuple[float, float]], *, token_id: str = "yes", conn: int = 1) -> pl.DataFrame:
    """Make rows of ``prices`` of milliseconds and mid, a cent wide."""
    return quotes([(at, mid - 0.005, 100.0, mid + 0.005, 100.0) for at, mid in points], token_id=token_id, conn=conn)


def trades(
    rows: Sequence[tuple[float, float, float, str]], *, token_id: str = "yes", conn: int = 1, sign_source: str = "feed"
) -> pl.DataFrame:
    """Make rows of ``trades`` of milliseconds, price, size and side."""
    return pl.DataFrame(
        {
            "ts_recv": times([row[0] for row in rows]),
            "price": pl.Series([row[1] for row in rows], dtype=pl.Float64),
            "size": pl.Series([row[2] for row in rows], dtype=pl.Float64),
            "side": pl.Series([row[3] for row in rows], dtype=pl.Enum(["buy", "sell"])),
        }
    ).with_columns(token_id=pl.lit(token_id), conn=pl.lit(conn, dtype=pl.UInt32), sign_source=pl.lit(sign_source))


def gaps(rows: Sequence[tuple[float, float | None]], *, token_id: str | None = "yes", conn: int = 1) -> pl.DataFrame:
    """Make rows of ``gaps`` of milliseconds from and to."""
    return pl.DataFrame(
        {
            "started": times([row[0] for row in rows]),
            "ended": times([row[1] for row in rows]),
            "token_id": pl.Series([token_id] * len(rows), dtype=pl.String),
            "conn": pl.Series([conn] * len(rows), dtype=pl.UInt32),
            "cause": pl.Series(["disconnect"] * len(rows)),
        }
    )


def golden_trades() -> pl.DataFrame:
    """The trades of the golden numbers, one a second, with their mids."""
    told = golden("trades")
    sides = ["buy" if sign > 0 else "sell" for sign in told["sign"]]
    rows = list(zip(range(0, 1000 * len(sides), 1000), told["price"], told["size"], sides, strict=True))
    return trades(rows).with_columns(mid_before=pl.Series(told["mid_before"]), mid_after=pl.Series(told["mid_after"]))
