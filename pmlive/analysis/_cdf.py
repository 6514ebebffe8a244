"""Distribution functions of the normal and of Student's distribution."""

from math import erfc, exp, lgamma, log, sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["normal_cdf", "t_cdf"]

_Floats: TypeAlias = npt.NDArray[np.float64]

# The continued fraction has converged long before: it takes about the square root of the larger parameter.
_MOST_STEPS, _CONVERGED, _TINY = 10_000, 1e-15, 1e-300


def normal_cdf(x: _Floats) -> _Floats:
    """Return the probability that a standard normal variable is at most ``x``."""
    return np.array([0.5 * erfc(-each / sqrt(2)) for each in x.tolist()], dtype=np.float64)


def t_cdf(x: _Floats, degrees: float) -> _Floats:
    """Return the probability that a variable with Student's distribution is at most ``x``; ``degrees`` is above 0."""
    tails = np.array([_tails(each, degrees) for each in np.abs(x).tolist()], dtype=np.float64)
    return np.where(x > 0, 1 - tails / 2, tails / 2)


def _tails(x: float, degrees: float) -> float:
    """Return the probability of being farther from 0 than ``x``: the incomplete beta function I(n/2, 1/2)."""
    inside, outside = degrees / (degrees + x * x), x * x / (degrees + x * x)
    a, b = degrees / 2, 0.5
    # Of the two forms of the function, the one whose fraction converges.
    if inside < (a + 1) / (a + b + 2):
        return _beta_part(a, b, inside, outside)
    return 1 - _beta_part(b, a, outside, inside)


def _beta_part(a: float, b: float, x: float, rest: float) -> float:
    if x == 0:
        return 0.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + (b * log(rest) if rest else 0.0))
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for part in (even, odd):
            d, c = 1 / _nonzero(1 + part * d), _nonzero(1 + part / c)
            found *= c * d
        if abs(c * d - 1) < _CONVERGED:
            break
    return found


def _nonzero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
