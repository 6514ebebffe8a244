"""Measures of one book, given as its levels: pairs of price (dollars a share) and size (shares), best first.

Where a side is empty a measure that needs both is None: 0.5 would be a price that nobody quoted.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

__all__ = [
    "Depth",
    "Fill",
    "Levels",
    "TakerSide",
    "depth_within",
    "fill_dollars",
    "fill_shares",
    "imbalance",
    "mid",
    "spread_bps",
    "spread_cents",
    "top_share",
    "weighted_mid",
]

Levels: TypeAlias = Sequence[tuple[float, float]]
TakerSide: TypeAlias = Literal["buy", "sell"]

# Prices have at most four decimals: what is nearer than this is the same price, and the rest is the dust of floats.
_DUST = 1e-9


class Depth(msgspec.Struct, frozen=True):
    """The shares that rest near the mid, on each side."""

    bid: float
    ask: float


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """What an order that takes at once would get, before fees.

    ``slippage`` is dollars a share against the mid, above 0 where it costs, and ``slippage_bps`` the same in 1/10000 of
    the mid. Both are None without a mid; so is ``vwap``, the average price, where nothing is filled. ``partial`` tells
    that the book holds less than was asked for: the numbers are then of the part that it holds.
    """

    side: TakerSide
    shares: float
    dollars: float
    vwap: float | None
    slippage: float | None
    slippage_bps: float | None
    partial: bool


def mid(bids: Levels, asks: Levels) -> float | None:
    """Average the best bid and the best ask: ``(b + a) / 2``, dollars a share."""
    return (bids[0][0] + asks[0][0]) / 2 if bids and asks else None


def spread_cents(bids: Levels, asks: Levels) -> float | None:
    """Return the full spread, ``100 * (a - b)``, in cents."""
    return 100 * (asks[0][0] - bids[0][0]) if bids and asks else None


def spread_bps(bids: Levels, asks: Levels) -> float | None:
    """Return the full spread in 1/10000 of the mid, ``10000 * (a - b) / mid``; the half-spread is half of it."""
    middle = mid(bids, asks)
    return 10_000 * (asks[0][0] - bids[0][0]) / middle if middle else None


def weighted_mid(bids: Levels, asks: Levels) -> float | None:
    """Weight each best price by the size on the other side: ``(a * Qb + b * Qa) / (Qb + Qa)``.

    It equals ``mid + spread / 2 * imbalance``. Often called the microprice; Stoikov's micro-price (SSRN 2970694) is
    another number, ``mid + G(imbalance, spread)``, with a ``G`` that has to be fitted.
    """
    if not bids or not asks:
        return None
    (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
    return (ask * bid_size + bid * ask_size) / (bid_size + ask_size)


def imbalance(bids: Levels, asks: Levels, *, levels: int | None = 1) -> float | None:
    """Compare the sizes of the best levels, or of all (None): ``(Qb - Qa) / (Qb + Qa)``, from -1 to 1.

    Raises:
        ValueError: ``levels`` is below 1.
    """
    if levels is not None and levels < 1:
        raise ValueError(f"levels is at least 1, or None for all, not {levels!r}")
    if not bids or not asks:
        return None
    bid, ask = _total(bids[:levels]), _total(asks[:levels])
    return (bid - ask) / (bid + ask)


def depth_within(bids: Levels, asks: Levels, *, cents: float = 2.0) -> Depth | None:
    """Add up the shares at prices no further from the mid than some cents, the edge included."""
    middle = mid(bids, asks)
    if middle is None:
        return None
    far = cents / 100 + _DUST
    bid, ask = ([level for level in side if abs(level[0] - middle) <= far] for side in (bids, asks))
    return Depth(_total(bid), _total(ask))


def top_share(levels: Levels, *, depth: int = 10) -> float | None:
    """Return the best level's part of the shares in the best levels, from 0 to 1; None for an empty side."""
    return levels[0][1] / _total(levels[:depth]) if levels else None


def fill_shares(bids: Levels, asks: Levels, *, side: TakerSide, shares: float) -> Fill:
    """Walk the book until a number of shares is bought or sold.

    Raises:
        ValueError: ``shares`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.

    >>> fill = fill_shares([(0.62, 1250.0)], [(0.63, 980.0), (0.64, 2100.0)], side="buy", shares=2000)
    >>> round(fill.vwap, 4), round(fill.slippage, 4), fill.partial
    (0.6351, 0.0101, False)
    """
    return _fill(bids, asks, side, _wanted("shares", shares), lambda _: 1.0)


def fill_dollars(bids: Levels, asks: Levels, *, side: TakerSide, dollars: float) -> Fill:
    """Walk the book until an amount of dollars is spent or received.

    Raises:
        ValueError: ``dollars`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.
    """
    return _fill(bids, asks, side, _wanted("dollars", dollars), lambda price: price)


def _wanted(name: str, amount: float) -> float:
    if not amount > 0:
        raise ValueError(f"{name} is above 0, not {amount!r}")
    return amount


def _fill(bids: Levels, asks: Levels, side: TakerSide, wanted: float, counts: Callable[[float], float]) -> Fill:
    if side not in {"buy", "sell"}:
        raise ValueError(f"side is 'buy' or 'sell', not {side!r}")
    left, shares, dollars = wanted, 0.0, 0.0
    for price, size in asks if side == "buy" else bids:
        whole = size * counts(price)
        taken = size if whole <= left else left / counts(price)
        shares, dollars, left = shares + taken, dollars + taken * price, max(left - whole, 0.0)
        if not left:
            break
    middle, vwap = mid(bids, asks), dollars / shares if shares else None
    slippage = None if vwap is None or middle is None else (vwap - middle) * (1 if side == "buy" else -1)
    return Fill(
        side=side,
        shares=shares,
        dollars=dollars,
        vwap=vwap,
        slippage=slippage,
        slippage_bps=None if slippage is None or not middle else 10_000 * slippage / middle,
        partial=left > _DUST * wanted,
    )


def _total(levels: Levels) -> float:
    return sum(size for _, size in levels)
