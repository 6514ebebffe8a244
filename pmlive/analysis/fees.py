"""Fees of takers. Every market has its own schedule, which may change, so none is assumed here."""

from typing import Protocol

import polars as pl

__all__ = ["Fees", "fee_per_share", "taker_fee"]


class Fees(Protocol):
    """A market's schedule, such as ``Market.fees``."""

    @property
    def enabled(self) -> bool:
        """Whether the market has fees at all."""
        ...

    @property
    def rate(self) -> float | None:
        """The factor of the formula."""
        ...

    @property
    def exponent(self) -> float | None:
        """The power of the formula."""
        ...


def taker_fee(schedule: Fees, *, shares: float, price: float) -> float:
    """Compute a fee in dollars: ``shares * rate * (price * (1 - price)) ** exponent``, 0 where the market has none.

    The formula is the venue's (``feeSchedule`` of its catalogue, and its official client); makers pay nothing.

    Raises:
        ValueError: the price is not between 0 and 1, ``shares`` is below 0, or the market has fees and no formula for
            them.

    >>> from pmlive.markets import FeeSchedule
    >>> round(taker_fee(FeeSchedule(enabled=True, rate=0.07, exponent=1), shares=100, price=0.5), 6)
    1.75
    """
    if not 0 <= price <= 1 or not shares >= 0:
        raise ValueError(f"price is between 0 and 1 and shares at least 0, not {price!r} and {shares!r}")
    rate, exponent = _terms(schedule)
    return shares * rate * (price * (1 - price)) ** exponent


def fee_per_share(schedule: Fees, price: pl.Expr) -> pl.Expr:
    """Return ``taker_fee`` of one share as an expression, dollars a share; null where the price is.

    Raises:
        ValueError: the market has fees and no formula for them.
    """
    rate, exponent = _terms(schedule)
    return rate * (price * (1 - price)) ** exponent


def _terms(schedule: Fees) -> tuple[float, float]:
    if not schedule.enabled:
        return 0.0, 1.0
    if schedule.rate is None or schedule.exponent is None:
        raise ValueError(f"the market has fees and no formula for them: {schedule!r}")
    return schedule.rate, schedule.exponent
