"""What interrupted a feed: one cut of a connection is a gap of each token on it, and is counted once here."""

import polars as pl

__all__ = ["interruptions"]

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
