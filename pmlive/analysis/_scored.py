"""Forecasts and what came of them, as numbers."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Forecasts", "Outcomes", "pairs"]

# Numbers between 0 and 1, and what came of them: 0 or 1.
Forecasts: TypeAlias = pl.Series | Sequence[float]
Outcomes: TypeAlias = pl.Series | Sequence[float] | Sequence[int]

_Floats: TypeAlias = npt.NDArray[np.float64]


def pairs(forecast: Forecasts, outcome: Outcomes) -> tuple[_Floats, _Floats]:
    """Give both as arrays.

    Raises:
        ValueError: there are none, they differ in number, a forecast is not in [0, 1] or an outcome neither 0 nor 1.
    """
    p, y = (pl.Series(each, dtype=pl.Float64, strict=False).to_numpy() for each in (forecast, outcome))
    if len(p) != len(y) or not len(p):
        raise ValueError(f"{len(p)} forecasts and {len(y)} outcomes; as many of both are needed, and at least one")
    if wrong := int(np.sum(~((p >= 0) & (p <= 1)))):
        raise ValueError(f"{wrong} of {len(p)} forecasts are missing or not between 0 and 1; leave them out first")
    if wrong := int(np.sum(~((y == 0) | (y == 1)))):
        raise ValueError(f"{wrong} of {len(y)} outcomes are neither 0 nor 1; leave them out first")
    return p, y
