"""Measures of one book, and of frames with many books.

One book is given as its levels: pairs of price (dollars a share) and size (shares), best first. Frames are of quotes
(``prices``) and of ladders (``depth``, ``book_snapshots``), list columns with the best level first. The definitions are
the same. Where a side is empty a measure that needs both is None or null: 0.5 would be a price that nobody quoted.
"""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec
import polars as pl

__all__ = [
    "Amount",
    "Depth",
    "Fill",
    "Levels",
    "TakerSide",
    "depth_within",
    "fill_dollars",
    "fill_shares",
    "imbalance",
    "ladder_measures",
    "mid",
    "quote_measures",
    "slippage_by_dollars",
    "slippage_by_shares",
    "slippage_curve",
    "spread_bps",
    "spread_cents",
    "top_share",
    "weighted_mid",
]

Levels: TypeAlias = Sequence[tuple[float, float]]
TakerSide: TypeAlias = Literal["buy", "sell"]
# What the size of an order counts.
Amount: TypeAlias = Literal["shares", "dollars"]

# Prices have at most four decimals: a smaller difference is a rounding error.
_EPSILON = 1e-9
_LADDERS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")


class Depth(msgspec.Struct, frozen=True):
    """The shares near the mid, on each side."""

    bid: float
    ask: float


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """The fill of a taker's order, before fees.

    ``slippage`` is dollars a share relative to the mid, above 0 if it costs, and ``slippage_bps`` the same in 1/10000
    of the mid. Both are None without a mid; ``vwap``, the average price, is None if nothing is filled. ``partial`` says
    that the book holds less than the order: the numbers are then those of the part that it holds.
    """

    side: TakerSide
    shares: float
    dollars: float
    vwap: float | None
    slippage: float | None
    slippage_bps: float | None
    partial: bool


def mid(bids: Levels, asks: Levels) -> float | None:
    """Return the mean of the best bid and ask, ``(b + a) / 2``, in dollars a share."""
    return (bids[0][0] + asks[0][0]) / 2 if bids and asks else None


def spread_cents(bids: Levels, asks: Levels) -> float | None:
    """Return the full spread, ``100 * (a - b)``, in cents."""
    return 100 * (asks[0][0] - bids[0][0]) if bids and asks else None


def spread_bps(bids: Levels, asks: Levels) -> float | None:
    """Return the full spread in 1/10000 of the mid, ``10000 * (a - b) / mid``."""
    middle = mid(bids, asks)
    return 10_000 * (asks[0][0] - bids[0][0]) / middle if middle else None


def weighted_mid(bids: Levels, asks: Levels) -> float | None:
    """Return the best prices weighted by the sizes of the other side: ``(a * Qb + b * Qa) / (Qb + Qa)``.

    It equals ``mid + spread / 2 * imbalance``. It is often called the microprice; Stoikov's micro-price (SSRN 2970694)
    is another number, ``mid + G(imbalance, spread)``, with a ``G`` that has to be fitted.
    """
    if not bids or not asks:
        return None
    (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
    return (ask * bid_size + bid * ask_size) / (bid_size + ask_size)


def imbalance(bids: Levels, asks: Levels, *, levels: int | None = 1) -> float | None:
    """Return the imbalance of the best levels' sizes, or of all (None): ``(Qb - Qa) / (Qb + Qa)``, from -1 to 1.

    Raises:
        ValueError: ``levels`` is below 1.
    """
    if levels is not None and levels < 1:
        raise ValueError(f"invalid levels {levels!r}; expected 1 or more, or None for all")
    if not bids or not asks:
        return None
    bid, ask = _total(bids[:levels]), _total(asks[:levels])
    return (bid - ask) / (bid + ask)


def depth_within(bids: Levels, asks: Levels, *, cents: float = 2.0) -> Depth | None:
    """Return the shares at prices at most ``cents`` from the mid."""
    middle = mid(bids, asks)
    if middle is None:
        return None
    far = cents / 100 + _EPSILON
    bid, ask = ([level for level in side if abs(level[0] - middle) <= far] for side in (bids, asks))
    return Depth(_total(bid), _total(ask))


def top_share(levels: Levels, *, depth: int = 10) -> float | None:
    """Return the best level's fraction of the shares in the best ``depth`` levels; None for an empty side."""
    return levels[0][1] / _total(levels[:depth]) if levels else None


def fill_shares(bids: Levels, asks: Levels, *, side: TakerSide, shares: float) -> Fill:
    """Return the fill of an order to buy or sell a number of shares at once.

    Raises:
        ValueError: ``shares`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.

    >>> fill = fill_shares([(0.62, 1250.0)], [(0.63, 980.0), (0.64, 2100.0)], side="buy", shares=2000)
    >>> round(fill.vwap, 4), round(fill.slippage, 4), fill.partial
    (0.6351, 0.0101, False)
    """
    return _fill(bids, asks, side, _wanted("shares", shares), lambda _: 1.0)


def fill_dollars(bids: Levels, asks: Levels, *, side: TakerSide, dollars: float) -> Fill:
    """Return the fill of an order to spend or receive an amount of dollars at once.

    Raises:
        ValueError: ``dollars`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.
    """
    return _fill(bids, asks, side, _wanted("dollars", dollars), lambda price: price)


def quote_measures(prices: pl.DataFrame) -> pl.DataFrame:
    """Add ``spread_cents``, ``spread_bps``, ``weighted_mid`` and ``imbalance`` to quotes.

    ``spread_cents = 100 * (a - b)``; ``spread_bps = 10000 * (a - b) / mid``;
    ``weighted_mid = (a * Qb + b * Qa) / (Qb + Qa)``; ``imbalance = (Qb - Qa) / (Qb + Qa)``, with the best prices ``b``
    and ``a`` (dollars a share) and their sizes ``Qb`` and ``Qa`` (shares).

    >>> quote = {"best_bid": 0.62, "best_bid_size": 1250.0, "best_ask": 0.63, "best_ask_size": 980.0}
    >>> empty = {"best_bid": None, "best_bid_size": None, "best_ask": 0.63, "best_ask_size": 980.0}
    >>> quote_measures(pl.DataFrame([quote, empty])).select("weighted_mid", "imbalance").rows()
    [(0.6256053811659192, 0.1210762331838565), (None, None)]
    """
    return prices.with_columns(
        **_quote(pl.col("best_bid"), pl.col("best_bid_size"), pl.col("best_ask"), pl.col("best_ask_size"))
    )


def ladder_measures(ladders: pl.DataFrame, *, levels: int | None = 1, cents: float = 2.0) -> pl.DataFrame:
    """Return the measures of every book of a frame of ladders.

    Replaces the list columns with ``mid`` and ``spread`` (dollars a share), ``spread_cents``, ``spread_bps``,
    ``weighted_mid``, ``imbalance`` (of the best ``levels``, None: of all), ``depth_bid`` and ``depth_ask`` (shares at
    most ``cents`` from the mid).

    Raises:
        ValueError: ``levels`` is below 1.
    """
    if levels is not None and levels < 1:
        raise ValueError(f"invalid levels {levels!r}; expected 1 or more, or None for all")
    bid, ask = (pl.col(f"{side}_prices").list.first() for side in ("bid", "ask"))
    bid_size, ask_size = (pl.col(f"{side}_sizes").list.first() for side in ("bid", "ask"))
    bids, asks = (_head(pl.col(f"{side}_sizes"), levels).list.sum() for side in ("bid", "ask"))
    best = _quote(bid, bid_size, ask, ask_size)
    best["imbalance"] = pl.when(bid.is_not_null() & ask.is_not_null()).then((bids - asks) / (bids + asks))
    rows = ladders.with_columns(mid=(bid + ask) / 2, spread=ask - bid, **best).with_row_index("_row")
    for side in ("bid", "ask"):
        rows = rows.join(_near(rows, side, cents), on="_row", how="left")
    return rows.sort("_row").drop("_row", *_LADDERS)


def slippage_by_shares(ladders: pl.DataFrame, *, side: TakerSide, shares: float) -> pl.DataFrame:
    """Return the fills of an order to buy or sell a number of shares in every book of a frame, before fees.

    Replaces the list columns with ``filled_shares``, ``filled_dollars``, ``vwap`` (null if nothing is filled),
    ``slippage`` (dollars a share relative to the mid, above 0 if it costs), ``slippage_bps`` (1/10000 of the mid) and
    ``partial``: the book holds less than the order, and the numbers are those of the part that it holds.

    Raises:
        ValueError: ``shares`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.
    """
    return _walk(ladders, side, shares, pl.lit(1.0))


def slippage_by_dollars(ladders: pl.DataFrame, *, side: TakerSide, dollars: float) -> pl.DataFrame:
    """Return the fills of an order to spend or receive an amount of dollars; the columns of ``slippage_by_shares``.

    Raises:
        ValueError: ``dollars`` is not above 0, or ``side`` is neither ``"buy"`` nor ``"sell"``.
    """
    return _walk(ladders, side, dollars, pl.col("_price"))


def slippage_curve(
    ladders: pl.DataFrame,
    amounts: Sequence[float],
    *,
    sides: Sequence[TakerSide] = ("buy", "sell"),
    amounts_in: Amount = "shares",
) -> pl.DataFrame:
    """Return what a taker's order costs by its size, relative to the mid and before fees: median and middle half.

    ``ladders`` are rows of ``Recording.depth``, of which those without a mid are left out. A book holds only what its
    ladder lists, so ask for as many levels as the largest order may need. A book that holds less than the order counts
    as dearer than any other, so that books that are too thin do not make an order look cheap.

    Returns, per ``side`` and ``amount`` (shares, or dollars), and per token where the ladders have ``token_id``:
    ``books`` (with a mid), ``filled`` (the share of them, 0 to 1, that hold the order), and ``cents_low``, ``cents``,
    ``cents_high``, ``bps_low``, ``bps`` and ``bps_high``: quartiles of the cost in cents a share and in 1/10000 of the
    mid, null where one depends on books that do not hold the order.

    Raises:
        ValueError: there is no amount or one is not above 0, or ``sides`` or ``amounts_in`` has another word.

    >>> bids, asks = {"bid_prices": [[0.62]], "bid_sizes": [[1250.0]]}, {"ask_prices": [[0.63]], "ask_sizes": [[980.0]]}
    >>> curve = slippage_curve(pl.DataFrame(bids | asks), [500, 2000], sides=["buy"])
    >>> curve.select("amount", "filled", pl.col("cents").round(2)).rows()
    [(500.0, 1.0, 0.5), (2000.0, 0.0, None)]
    """
    _check_amounts(amounts, amounts_in)
    named = [name for name in ("token_id", "slug", "outcome") if name in ladders.columns]
    books = ladders.select(*named, *_LADDERS).filter(
        pl.all_horizontal(pl.col("bid_prices", "ask_prices").list.first().is_not_null())
    )
    costs = [_costs(books, side, amount, amounts_in) for side in sides for amount in amounts]
    return pl.concat(costs).group_by(*named, "side", "amount", maintain_order=True).agg(_quartiles())


def _check_amounts(amounts: Sequence[float], amounts_in: Amount) -> None:
    if not amounts or not min(amounts) > 0:
        raise ValueError(f"invalid amounts {list(amounts)!r}; expected numbers above 0")
    if amounts_in not in {"shares", "dollars"}:
        raise ValueError(f"invalid amounts_in {amounts_in!r}; expected 'shares' or 'dollars'")


def _costs(books: pl.DataFrame, side: TakerSide, amount: float, amounts_in: Amount) -> pl.DataFrame:
    if amounts_in == "shares":
        fills = slippage_by_shares(books, side=side, shares=amount)
    else:
        fills = slippage_by_dollars(books, side=side, dollars=amount)
    return fills.with_columns(side=pl.lit(side), amount=pl.lit(float(amount)))


def _quartiles() -> list[pl.Expr]:
    """Return quartiles of what an order costs; null where one depends on books that do not hold it."""
    made = [pl.len().alias("books"), (~pl.col("partial")).mean().alias("filled")]
    for unit, cost in (("cents", 100 * pl.col("slippage")), ("bps", pl.col("slippage_bps"))):
        whole = pl.when(pl.col("partial")).then(float("inf")).otherwise(cost)
        for name, part in ((f"{unit}_low", 0.25), (unit, 0.5), (f"{unit}_high", 0.75)):
            quartile = whole.quantile(part, "linear")
            made.append(pl.when(quartile.is_finite()).then(quartile).alias(name))
    return made


def _wanted(name: str, amount: float) -> float:
    if not amount > 0:
        raise ValueError(f"invalid {name} {amount!r}; expected a number above 0")
    return amount


def _fill(bids: Levels, asks: Levels, side: TakerSide, wanted: float, counts: Callable[[float], float]) -> Fill:
    if side not in {"buy", "sell"}:
        raise ValueError(f"invalid side {side!r}; expected 'buy' or 'sell'")
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
        partial=left > _EPSILON * wanted,
    )


def _total(levels: Levels) -> float:
    return sum(size for _, size in levels)


def _quote(bid: pl.Expr, bid_size: pl.Expr, ask: pl.Expr, ask_size: pl.Expr) -> dict[str, pl.Expr]:
    return {
        "spread_cents": 100 * (ask - bid),
        "spread_bps": 10_000 * (ask - bid) / ((bid + ask) / 2),
        "weighted_mid": (ask * bid_size + bid * ask_size) / (bid_size + ask_size),
        "imbalance": (bid_size - ask_size) / (bid_size + ask_size),
    }


def _head(sizes: pl.Expr, levels: int | None) -> pl.Expr:
    return sizes if levels is None else sizes.list.head(levels)


def _near(rows: pl.DataFrame, side: str, cents: float) -> pl.DataFrame:
    distance = (pl.col("_price") - pl.col("mid")).abs()
    near = pl.col("_size").filter(distance <= cents / 100 + _EPSILON).sum()
    known = pl.col("mid").first().is_not_null()
    return _levels(rows, side, "mid").group_by("_row").agg(pl.when(known).then(near).alias(f"depth_{side}"))


def _levels(rows: pl.DataFrame, side: str, *others: str) -> pl.DataFrame:
    listed = rows.select("_row", *others, _price=f"{side}_prices", _size=f"{side}_sizes")
    return listed.explode("_price", "_size")


def _walk(ladders: pl.DataFrame, side: TakerSide, wanted: float, counts: pl.Expr) -> pl.DataFrame:
    if side not in {"buy", "sell"}:
        raise ValueError(f"invalid side {side!r}; expected 'buy' or 'sell'")
    if not wanted > 0:
        raise ValueError(f"invalid amount {wanted!r}; expected a number above 0")
    rows = ladders.with_row_index("_row")
    whole = pl.col("_size") * counts
    before = whole.cum_sum().over("_row") - whole
    taken = (wanted - before).clip(0.0, whole) / counts
    filled = (
        _levels(rows, "ask" if side == "buy" else "bid")
        .with_columns(_taken=taken, _whole=whole)
        .group_by("_row")
        .agg(
            filled_shares=pl.col("_taken").sum(),
            filled_dollars=(pl.col("_taken") * pl.col("_price")).sum(),
            partial=pl.col("_whole").sum() < wanted * (1 - _EPSILON),
        )
    )
    whole = rows.join(filled, on="_row", how="left").sort("_row")
    nothing = (pl.col("filled_shares", "filled_dollars").fill_null(0.0), pl.col("partial").fill_null(value=True))
    return _with_slippage(whole.with_columns(nothing), side).drop("_row", *_LADDERS)


def _with_slippage(rows: pl.DataFrame, side: TakerSide) -> pl.DataFrame:
    mid = (pl.col("bid_prices").list.first() + pl.col("ask_prices").list.first()) / 2
    vwap = pl.when(pl.col("filled_shares") > 0).then(pl.col("filled_dollars") / pl.col("filled_shares"))
    slippage = (vwap - mid) * (1 if side == "buy" else -1)
    added = rows.with_columns(vwap=vwap, slippage=slippage, slippage_bps=10_000 * slippage / mid)
    return added.select(pl.exclude("partial"), "partial")
