"""Means over time of what stands until it changes: prices, spreads, depth.

A row stands until the token's next one, and the last until the frame's last row. The time of a gap has no weight. Where
no row came with the end of a gap, the row before it stands again: ``prices`` has a row for each change, and at the end
of a gap the book was known. A gap that ended because its market was resolved is an exception, which the gaps alone do
not show; ``with_resolutions`` adds it.
"""

from collections.abc import Sequence

import polars as pl

from pmlive.analysis._intervals import Every, Touched, last_time, mark, windows
from pmlive.analysis._pieces import pieces

__all__ = ["time_weighted_mean"]


def time_weighted_mean(
    states: pl.DataFrame,
    every: Every | None = None,
    *,
    values: Sequence[str] = ("mid", "spread"),
    gaps: pl.DataFrame | None = None,
    touched: Touched = "exclude",
) -> pl.DataFrame:
    """Return means weighted by how long each value stood, in windows of time, by default in one window per token.

    ``states`` has ``token_id``, ``ts_recv`` and the values: quotes, or what ``ladder_measures`` and the like return.

    Returns ``token_id``, ``start``, ``end``; per value its mean, under its own name, and ``known_`` with its name: the
    share of the window, 0 to 1, that the mean is of (while a value is null it has no weight); ``touched``; and with
    ``"exclude"`` ``covered``, the share in which a row stood and no gap lasted (null without ``gaps``).

    Raises:
        ValueError: a column is missing, ``every`` is not a length of time above 0, or ``touched`` is none of its words.

    >>> at = pl.Series([0, 1000, 4000], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> quotes = pl.DataFrame({"token_id": "7", "ts_recv": at, "mid": [0.4, 0.6, 0.5]})
    >>> gap = pl.DataFrame({"token_id": "7", "conn": 3, "cause": "mismatch", "started": at[1:2], "ended": at[2:]})
    >>> time_weighted_mean(quotes, "4s", values=["mid"], gaps=gap).select("mid", "known_mid", "covered").rows()
    [(0.4, 0.25, 0.25), (None, 0.0, 0.0)]
    """
    _check_columns(states, values)
    until = last_time(states) + pl.duration(nanoseconds=int(every is None))
    cut = pieces(states, windows(states, every), values, until=until, gaps=gaps if touched == "exclude" else None)
    means = _means(cut, windows(states, every), values)
    if touched == "exclude":
        return mark(means, gaps, conns=states, measured=values, touched=touched)
    measured = [*values, *_known(values)]
    return mark(means.drop("covered"), gaps, conns=states, measured=measured, touched=touched)


def _check_columns(states: pl.DataFrame, values: Sequence[str]) -> None:
    missing = [name for name in values if name not in states.columns]
    if missing:
        raise ValueError(f"the frame has no columns {missing!r}, only {states.columns!r}")


def _means(cut: pl.DataFrame, spans: pl.DataFrame, values: Sequence[str]) -> pl.DataFrame:
    known, length = _known(values), (pl.col("end") - pl.col("start")).dt.total_nanoseconds()
    sums = cut.group_by("token_id", "start").agg(
        *(_mean(name) for name in values),
        *(_weight(name).sum().alias(share) for name, share in zip(values, known, strict=True)),
        covered=pl.col("_weight").filter("_stands").sum(),
    )
    found = spans.join(sums, on=["token_id", "start"], how="left").sort("token_id", "start")
    return found.with_columns(pl.col(*known, "covered") / length)


def _known(values: Sequence[str]) -> list[str]:
    return [f"known_{name}" for name in values]


def _weight(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_not_null()).then(pl.col("_weight")).otherwise(0.0)


def _mean(name: str) -> pl.Expr:
    weight = _weight(name)
    return pl.when(weight.sum() > 0).then((weight * pl.col(name)).sum() / weight.sum()).alias(name)
