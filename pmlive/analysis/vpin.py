"""VPIN: how one-sided trading was, by volume and not by time."""

import numpy as np
import polars as pl

from pmlive.analysis._time import TIME, ordered
from pmlive.analysis.flow import signed
from pmlive.analysis.gaps import Touched, broken, mark

__all__ = ["vpin"]

# A bucket that floats leave short by less than this part is full.
_DUST = 1e-9
_SCHEMA = {
    "token_id": pl.String,
    "bucket": pl.Int64,
    "start": TIME,
    "end": TIME,
    "buy_volume": pl.Float64,
    "sell_volume": pl.Float64,
    "touched": pl.Boolean,
}


def vpin(
    trades: pl.DataFrame,
    *,
    bucket: float,
    window: int,
    sign_source: str,
    gaps: pl.DataFrame | None = None,
    touched: Touched = "flag",
) -> pl.DataFrame:
    """Measure the imbalance of buckets of equal volume: ``sum(|Vb - Vs|) / (window * bucket)`` over the last buckets.

    A trade that fills a bucket is split, its rest goes into the next, and a last bucket that is not full is left out
    (Easley, López de Prado and O'Hara 2012, Rev. Financial Studies 25(5):1457-1493, with signs instead of bulk
    classification).

    Returns, per token and bucket (shares), ``token_id``, ``bucket`` (0, 1, …), ``start`` and ``end`` (its first and
    last trade), ``buy_volume``, ``sell_volume``, ``vpin`` (0 to 1, null for the first ``window - 1`` buckets),
    ``sign_source`` and ``touched``. A bucket that a gap touches, and the ``window - 1`` after it, have no ``vpin``.

    Raises:
        ValueError: ``bucket`` or ``window`` is not above 0, or the trades were not all signed by ``sign_source``.
    """
    if not bucket > 0 or window < 1:
        raise ValueError(f"bucket and window are above 0, not {bucket!r} and {window!r}")
    rows = signed(ordered(trades), sign_source=sign_source)
    rows = rows.with_columns(_broken=broken(rows, gaps))
    tokens = [_buckets(token, bucket) for token in rows.partition_by("token_id", maintain_order=True)]
    made = pl.concat([pl.DataFrame(schema=_SCHEMA), *tokens])
    marked = mark(made, gaps, conns=trades, measured=("buy_volume", "sell_volume"), touched="flag")
    uneven = (pl.col("buy_volume") - pl.col("sell_volume")).abs()
    rolled = uneven.rolling_sum(window).over("token_id") / (window * bucket)
    whole = marked.with_columns(vpin=rolled, sign_source=pl.lit(sign_source))
    columns = ("token_id", "bucket", "start", "end", "buy_volume", "sell_volume", "vpin", "sign_source", "touched")
    return (whole.filter(~pl.col("touched").fill_null(value=False)) if touched == "drop" else whole).select(columns)


def _buckets(trades: pl.DataFrame, bucket: float) -> pl.DataFrame:
    # What was bought by each edge lies on the line between the trades around it, so drawing it splits the trades.
    size = trades["size"].to_numpy()
    total = np.concatenate([[0.0], np.cumsum(size)])
    bought = np.concatenate([[0.0], np.cumsum(np.where(trades["sign"].to_numpy() > 0, size, 0.0))])
    count = int(total[-1] / bucket + _DUST)
    edges = bucket * np.arange(count + 1)
    buys = np.diff(np.interp(edges, total, bought))
    # A trade is the first of a bucket if it goes beyond its lower edge, and the last if it reaches the upper one.
    near = _DUST * bucket
    firsts = np.searchsorted(total[1:], edges[:-1] + near, side="right")
    lasts = np.searchsorted(total[1:], edges[1:] - near, side="left")
    breaks = np.cumsum(trades["_broken"].to_numpy())
    return pl.DataFrame(
        {
            "token_id": [trades["token_id"][0]] * count,
            "bucket": np.arange(count),
            "start": trades["ts_recv"].gather(firsts),
            "end": trades["ts_recv"].gather(lasts),
            "buy_volume": buys,
            "sell_volume": bucket - buys,
            "touched": breaks[lasts] > breaks[firsts],
        },
        schema=_SCHEMA,
    )
