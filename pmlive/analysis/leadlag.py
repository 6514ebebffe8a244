"""Covariance of two series that tick at different times, and which of them moves first.

Use times of the same clock for both, ours. A feed that republishes once a second is up to a second late, whatever its
timestamps say.

The estimator of Hayashi and Yoshida counts a change once for each change of the other series that overlaps it, but the
variances that its correlation is divided by count it once. So its matrix of variances and covariance is no sum of
squares, need not be positive semi-definite in a finite sample, and the correlation may exceed 1; to clip it would hide
that, and be biased. Where a correlation between -1 and 1 is needed, ``refresh_time_corr`` and ``cross_correlation``
estimate variances and covariance of the same changes, at the price of a bias to 0.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from pmlive.analysis._intervals import TIME, Every, positive_ns, to_ns, touched_by

__all__ = [
    "HayashiYoshida",
    "RefreshTimeCorr",
    "cross_correlation",
    "hayashi_yoshida",
    "lead_lag",
    "refresh_time_corr",
]

_Floats: TypeAlias = npt.NDArray[np.float64]

_WIDTH = 2


class HayashiYoshida(msgspec.Struct, frozen=True, kw_only=True):
    """Covariance over the whole time, correlation (None if a series never moves), and the numbers of known changes.

    ``corr`` may be outside of -1 to 1: then ``is_psd`` is false, and the sample too small to tell.
    """

    cov: float
    corr: float | None
    changes_x: int
    changes_y: int

    @property
    def is_psd(self) -> bool:
        """Whether the matrix of both variances and the covariance is positive semi-definite."""
        return self.corr is None or abs(self.corr) <= 1


class RefreshTimeCorr(msgspec.Struct, frozen=True, kw_only=True):
    """Covariance and variances over the whole time, and the correlation, from -1 to 1 (None if a series never moves).

    They are of ``n`` pairs of changes; ``left_out`` are those that a null or a gap lies in.
    """

    cov: float
    var_x: float
    var_y: float
    corr: float | None
    n: int
    left_out: int
    bandwidth: int


# The intervals between ticks of a series in order of time, and the change in each, 0 if it is not known.
class _Changes(msgspec.Struct, frozen=True):
    start: npt.NDArray[np.int64] | _Floats
    end: npt.NDArray[np.int64] | _Floats
    change: _Floats
    known: int


def hayashi_yoshida(x: pl.DataFrame, y: pl.DataFrame, *, gaps: pl.DataFrame | None = None) -> HayashiYoshida:
    """Return the sum of products of all changes whose intervals overlap, ``sum_ij dx_i * dy_j``.

    There is no grid and no filling, so ticks at different times do not pull the covariance to 0 (Hayashi and Yoshida
    2005, Bernoulli 11(2):359-379). ``corr = cov / sqrt(sum(dx**2) * sum(dy**2))``, which may exceed 1 (see above).

    Args:
        x: two columns, time (Datetime, or a number) and value; there is no change to or from a null value.
        y: as ``x``.
        gaps: rows of ``gaps`` that concern either series, of any token: changes that they touch are left out.

    Raises:
        ValueError: a frame does not have two columns.
        TypeError: there are ``gaps``, and the times are not Datetime.

    >>> x = pl.DataFrame({"time": [0.0, 1.0, 3.0], "value": [0.0, 1.0, 0.5]})
    >>> y = pl.DataFrame({"time": [0.0, 2.0, 4.0], "value": [0.0, 0.8, 0.6]})
    >>> round(hayashi_yoshida(x, y).cov, 6)
    0.5
    """
    return _estimate(_changes(x, gaps), _changes(y, gaps), 0)


def refresh_time_corr(
    x: pl.DataFrame,
    y: pl.DataFrame,
    *,
    bandwidth: int = 0,
    lag: Every = "0s",
    gaps: pl.DataFrame | None = None,
) -> RefreshTimeCorr:
    """Return the realised kernel of changes between refresh times, whose matrix is positive semi-definite.

    A refresh time is the first by which both series have ticked since the one before it; each series has then the value
    of its last tick (Barndorff-Nielsen, Hansen, Lunde and Shephard 2011, J. Econometrics 162(2):149-169). With
    ``bandwidth`` 0 these are the realised variances and covariance. With ``H`` above it, products of changes up to
    ``H`` refresh times apart are added, with the weights ``k(h / (H + 1))`` of Parzen: that takes away noise and some
    of the bias to 0 by ticks at different times, and costs precision. ``y`` is shifted back by the ``lag``, as in
    ``lead_lag``; other arguments are those of ``hayashi_yoshida``.

    Raises:
        ValueError: a frame does not have two columns, or ``bandwidth`` is below 0.
        TypeError: there are ``gaps`` or a ``lag``, and the times are not Datetime.

    >>> x = pl.DataFrame({"time": [0.0, 1.0, 3.0], "value": [0.0, 1.0, 0.5]})
    >>> y = pl.DataFrame({"time": [0.0, 2.0, 4.0], "value": [0.0, 0.8, 0.6]})
    >>> found = refresh_time_corr(x, y)
    >>> round(found.cov, 6), round(found.corr, 6), found.n
    (0.9, 0.976187, 2)
    """
    if bandwidth < 0:
        raise ValueError(f"invalid bandwidth {bandwidth!r}; expected a whole number, 0 or above")
    shift = to_ns(lag)
    if shift or gaps is not None:
        _refuse_other_times(x, y)
    left, right = _rows(x), _rows(y)
    at = _refresh_times(_ticks(left), _ticks(right) - shift)
    dx, dy = _stepped(left, at, gaps), _stepped(right, at + shift, gaps)
    known = ~(np.isnan(dx) | np.isnan(dy))
    # A change that is not known is none, which leaves the kernel a sum of squares.
    return _kernel(np.where(known, dx, 0.0), np.where(known, dy, 0.0), int(known.sum()), bandwidth)


def lead_lag(
    x: pl.DataFrame, y: pl.DataFrame, lags: Sequence[Every], *, gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the covariance with ``y`` shifted back by several lags; that of the largest contrast is the lead of ``x``.

    A positive lag means that ``x`` moves first (Hoffmann, Rosenbaum and Yoshida 2013, Bernoulli 19(2):426-461). As that
    of ``hayashi_yoshida``, ``corr`` may exceed 1; ``refresh_time_corr`` with a lag does not.
    Arguments and errors are those of ``hayashi_yoshida``; times must be Datetime, and a lag may be negative: ``"-2s"``.

    Returns ``lag`` (Duration), ``cov``, ``corr`` and ``contrast`` (the absolute covariance), in the order of ``lags``.
    """
    _refuse_other_times(x, y)
    left, right = _changes(x, gaps), _changes(y, gaps)
    lengths = [to_ns(lag) for lag in lags]
    found = [_estimate(left, right, length) for length in lengths]
    return pl.DataFrame(
        {
            "lag": pl.Series(lengths, dtype=pl.Int64).cast(pl.Duration("ns")),
            "cov": [each.cov for each in found],
            "corr": pl.Series([each.corr for each in found], dtype=pl.Float64),
            "contrast": [abs(each.cov) for each in found],
        }
    )


def cross_correlation(
    x: pl.DataFrame, y: pl.DataFrame, lags: Sequence[Every], *, step: Every = "1s", gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the correlation of changes of ``x`` over each ``step`` with those of ``y`` a lag later.

    Both series are sampled every ``step`` over their common time, and ``corr`` is ``sum(dx_t * dy_(t+lag))`` divided by
    ``sqrt(sum(dx**2) * sum(dy**2))``, over the pairs of which both are known. The mean is not subtracted, since the
    drift of prices is negligible at such steps. A positive lag means that ``x`` moves first. If both series tick at the
    same rate, ``lead_lag`` is flat for the length of a tick and this is not; but it does not resolve lags below a step,
    and ticks at different times pull it to 0 (Epps 1979, JASA 74(366):291-298).

    Arguments and errors are those of ``lead_lag``. Returns ``lag`` (Duration), ``corr`` (null if nothing moves) and
    ``n`` (pairs of changes), in the order of ``lags``.

    Raises:
        ValueError: a lag is not a whole number of steps.
    """
    _refuse_other_times(x, y)
    length = positive_ns(step)
    lengths = [to_ns(lag) for lag in lags]
    if any(lag % length for lag in lengths):
        raise ValueError(f"invalid lags {list(lags)!r}; expected whole numbers of steps of {step!r}")
    series = [_rows(each) for each in (x, y)]
    grid = _common_grid([_numbers(rows["time"]) for rows in series], length)
    dx, dy = (_stepped(rows, grid, gaps) for rows in series)
    found = [_correlation(dx, dy, lag // length) for lag in lengths]
    return pl.DataFrame(
        {
            "lag": pl.Series(lengths, dtype=pl.Int64).cast(pl.Duration("ns")),
            "corr": pl.Series([corr for corr, _ in found], dtype=pl.Float64),
            "n": [n for _, n in found],
        }
    )


def _common_grid(times: Sequence[npt.NDArray[np.int64] | _Floats], length: int) -> npt.NDArray[np.int64]:
    if not all(len(each) for each in times):
        return np.array([], dtype=np.int64)
    first, last = max(each[0] for each in times), min(each[-1] for each in times)
    return np.arange(-(-first // length), last // length + 1, dtype=np.int64) * length


def _ticks(rows: pl.DataFrame) -> npt.NDArray[np.int64] | _Floats:
    return _numbers(rows.filter(pl.col("value").is_not_null())["time"])


def _refresh_times(
    x: npt.NDArray[np.int64] | _Floats, y: npt.NDArray[np.int64] | _Floats
) -> npt.NDArray[np.int64] | _Floats:
    found: list[float] = []
    left, right = x.tolist(), y.tolist()
    i = j = 0
    while i < len(left) and j < len(right):
        now = max(left[i], right[j])
        found.append(now)
        i, j = bisect_right(left, now, i), bisect_right(right, now, j)
    return np.array(found, dtype=np.result_type(x, y))


def _kernel(dx: _Floats, dy: _Floats, known: int, bandwidth: int) -> RefreshTimeCorr:
    var_x, var_y, cov = (_weighted_products(one, other, bandwidth) for one, other in ((dx, dx), (dy, dy), (dx, dy)))
    scale = float(np.sqrt(var_x) * np.sqrt(var_y)) if min(var_x, var_y) > 0 else 0.0
    return RefreshTimeCorr(
        cov=cov,
        var_x=var_x,
        var_y=var_y,
        # It is beyond these by rounding alone.
        corr=max(-1.0, min(cov / scale, 1.0)) if scale else None,
        n=known,
        left_out=len(dx) - known,
        bandwidth=bandwidth,
    )


def _weighted_products(one: _Floats, other: _Floats, bandwidth: int) -> float:
    total = float(np.dot(one, other))
    for apart in range(1, min(bandwidth, len(one) - 1) + 1):
        both = np.dot(one[apart:], other[:-apart]) + np.dot(other[apart:], one[:-apart])
        total += _parzen(apart / (bandwidth + 1)) * float(both)
    return total


def _parzen(x: float) -> float:
    return 1 - 6 * x**2 + 6 * x**3 if x <= 0.5 else 2 * (1 - x) ** 3  # noqa: PLR2004  # the middle


def _stepped(rows: pl.DataFrame, grid: npt.NDArray[np.int64] | _Floats, gaps: pl.DataFrame | None) -> _Floats:
    """Return the changes of a series sampled at the times of a grid; NaN where one is not known."""
    at = np.searchsorted(_numbers(rows["time"]), grid, side="right") - 1
    change = np.diff(rows["value"].cast(pl.Float64).to_numpy()[at])
    if gaps is not None and len(change):
        times = pl.Series(grid).cast(TIME)
        change[_touched_steps(pl.DataFrame({"start": times[:-1], "end": times[1:]}), gaps).to_numpy()] = np.nan
    return change


def _correlation(dx: _Floats, dy: _Floats, places: int) -> tuple[float | None, int]:
    size = max(len(dx) - abs(places), 0)
    one, other = dx[max(-places, 0) :][:size], dy[max(places, 0) :][:size]
    known = ~(np.isnan(one) | np.isnan(other))
    one, other = one[known], other[known]
    scale = float(np.sqrt(np.sum(one**2) * np.sum(other**2)))
    return (float(np.sum(one * other)) / scale if scale else None), len(one)


def _changes(ticks: pl.DataFrame, gaps: pl.DataFrame | None) -> _Changes:
    rows = _rows(ticks)
    steps = rows.select(start=pl.col("time").shift(1), end="time", change=pl.col("value").diff()).slice(1)
    if gaps is not None:
        steps = steps.with_columns(change=pl.when(~pl.lit(_touched_steps(steps, gaps))).then(pl.col("change")))
    start, end = (_numbers(steps[name]) for name in ("start", "end"))
    return _Changes(start, end, steps["change"].fill_null(0.0).to_numpy(), steps["change"].count())


def _rows(ticks: pl.DataFrame) -> pl.DataFrame:
    if ticks.width != _WIDTH:
        raise ValueError(f"invalid columns {ticks.columns!r}; expected two, time and value")
    # Of several ticks at one instant only the last one stood.
    rows = ticks.rename(dict(zip(ticks.columns, ("time", "value"), strict=True)))
    return rows.unique("time", keep="last", maintain_order=True).sort("time")


def _refuse_other_times(x: pl.DataFrame, y: pl.DataFrame) -> None:
    if not all(isinstance(each.dtypes[0], pl.Datetime) for each in (x, y)):
        raise TypeError(f"the first columns are {x.dtypes[0]!r} and {y.dtypes[0]!r}; expected Datetime for both")


def _touched_steps(steps: pl.DataFrame, gaps: pl.DataFrame) -> pl.Series:
    if not isinstance(steps["start"].dtype, pl.Datetime):
        raise TypeError(f"the times are {steps['start'].dtype!r}; with gaps, expected Datetime")
    spans = steps.select(pl.col("start", "end").cast(TIME), token_id=pl.lit("either"))
    return touched_by(spans, gaps.with_columns(token_id=pl.lit(None, dtype=pl.String)))


def _numbers(times: pl.Series) -> npt.NDArray[np.int64] | _Floats:
    return times.cast(TIME).cast(pl.Int64).to_numpy() if isinstance(times.dtype, pl.Datetime) else times.to_numpy()


def _estimate(x: _Changes, y: _Changes, lag: int) -> HayashiYoshida:
    # The intervals of y that overlap one of x are adjacent, so their total change is a difference of two sums.
    first = np.searchsorted(y.end - lag, x.start, side="right")
    beyond = np.searchsorted(y.start - lag, x.end, side="left")
    sums = np.concatenate([[0.0], np.cumsum(y.change)])
    cov = float(np.sum(x.change * (sums[np.maximum(beyond, first)] - sums[first])))
    scale = float(np.sqrt(np.sum(x.change**2) * np.sum(y.change**2)))
    return HayashiYoshida(cov=cov, corr=cov / scale if scale else None, changes_x=x.known, changes_y=y.known)
