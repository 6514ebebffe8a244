"""Sets of outcomes of which exactly one pays: what a whole set costs, and whether Yes and No mirror each other.

A quote stands until the next one of its token. A sum needs every leg, so it is null while a leg has no quote on that
side and while a gap of the leg lasts. The books of Yes and No are one book on the venue, so presume that a sum that is
out of line comes from a late or wrong book. Every market has its own schedule of fees, which may change, so none is
assumed here.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Literal, Protocol, TypeAlias

import polars as pl

from pmlive.analysis._intervals import TIME, as_of, by_token_and_time, first_time, last_time, touched_by

__all__ = [
    "Edge",
    "Fees",
    "FeesByToken",
    "PricedMarket",
    "arbitrages",
    "episodes",
    "event_sums",
    "fee_per_share",
    "fees_by_token",
    "mirror",
    "neg_risk_sums",
    "set_sums",
    "taker_fee",
]

# The profit of a set before fees, or after them.
Edge: TypeAlias = Literal["gross", "net"]

# Prices have at most four decimals; further ones in a sum of floats are rounding errors.
_DECIMALS = 12
_QUOTE = {"bid": "best_bid", "bid_size": "best_bid_size", "ask": "best_ask", "ask_size": "best_ask_size"}


class Fees(Protocol):
    """A market's schedule of fees, such as ``Market.fees``."""

    @property
    def enabled(self) -> bool:
        """Whether the market has fees."""
        ...

    @property
    def rate(self) -> float | None:
        """The factor of the formula."""
        ...

    @property
    def exponent(self) -> float | None:
        """The power of the formula."""
        ...


FeesByToken: TypeAlias = Mapping[str, Fees]


class PricedMarket(Protocol):
    """A market with its tokens and fees, such as one of ``Recording.markets``."""

    @property
    def slug(self) -> str:
        """Its name in addresses."""
        ...

    @property
    def event_slug(self) -> str:
        """The name of its event."""
        ...

    @property
    def outcomes(self) -> Sequence[str]:
        """The names of its outcomes."""
        ...

    @property
    def token_ids(self) -> Sequence[str]:
        """The tokens of these outcomes."""
        ...

    @property
    def fees(self) -> Fees:
        """Its schedule of fees."""
        ...


def fees_by_token(markets: Iterable[PricedMarket]) -> dict[str, Fees]:
    """Return the schedule of each token of markets, such as ``Recording.markets``: what ``fees=`` asks for."""
    return {token_id: market.fees for market in markets for token_id in market.token_ids}


def mirror(prices: pl.DataFrame, *, yes: str, no: str, gaps: pl.DataFrame | None = None) -> pl.DataFrame:
    """Measure how far the quotes of No are from the mirror image of those of Yes.

    ``deviation = max(|ask_no - (1 - bid_yes)|, |bid_no - (1 - ask_yes)|)``, of the pairs of which both are known.

    Returns, for every step in time, ``start``, ``end``, ``bid_yes``, ``ask_yes``, ``bid_no``, ``ask_no`` and
    ``deviation`` (dollars a share, null where no pair is known). ``episodes(…, "deviation")`` returns the durations.

    Raises:
        ValueError: both tokens are the same.
    """
    steps = _steps(prices, [yes, no], gaps)
    bid_yes, ask_yes, bid_no, ask_no = (pl.col(name) for name in ("bid_0", "ask_0", "bid_1", "ask_1"))
    apart = pl.max_horizontal((ask_no + bid_yes - 1).abs(), (bid_no + ask_yes - 1).abs()).round(_DECIMALS)
    return steps.select("start", "end", bid_yes=bid_yes, ask_yes=ask_yes, bid_no=bid_no, ask_no=ask_no, deviation=apart)


def set_sums(
    prices: pl.DataFrame,
    tokens: Sequence[str],
    *,
    fees: FeesByToken,
    pays: float = 1.0,
    gaps: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Price sets of one share of each token that pay ``pays`` dollars: Yes and No, or every Yes of a neg-risk event.

    ``buy_net = pays - sum(ask) - sum(fee(ask))`` and ``sell_net = sum(bid) - pays - sum(fee(bid))``.

    Returns, for every step in time, ``start``, ``end``, and for ``buy`` and ``sell`` each ``…_sum`` (dollars),
    ``…_size`` (sets: the smallest size of the legs), ``…_gross`` and ``…_net`` (dollars a set, before and after fees).

    Raises:
        ValueError: a token is named twice, there are fewer than two, ``fees`` lacks one, or a schedule is enabled and
            has no formula.

    >>> from pmlive.markets import FeeSchedule
    >>> time = pl.Series([0], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
    >>> def quote(token, bid, ask):
    ...     top = {"best_bid": bid, "best_bid_size": 50.0, "best_ask": ask, "best_ask_size": 80.0}
    ...     return pl.DataFrame({"token_id": token, "ts_recv": time, **top})
    >>> quotes = pl.concat([quote("yes", 0.46, 0.47), quote("no", 0.49, 0.5)])
    >>> crypto = FeeSchedule(enabled=True, rate=0.07, exponent=1)
    >>> sums = set_sums(quotes, ["yes", "no"], fees={"yes": crypto, "no": crypto})
    >>> sums.select("buy_sum", "buy_size", "buy_gross", "buy_net").row(0)
    (0.97, 80.0, 0.03, -0.004937)
    """
    return _steps(prices, tokens, gaps).select("start", "end", *_sums(range(len(tokens)), tokens, fees, pays))


def neg_risk_sums(
    prices: pl.DataFrame,
    *,
    yes: Sequence[str],
    no: Sequence[str],
    fees: FeesByToken,
    gaps: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Price the set of every Yes and the set of every No of an event with ``n`` outcomes, exactly one of which wins.

    A set of Yes pays 1 and one of No pays ``n - 1``: an arbitrage buys Yes where ``sum(ask) < 1``, sells it where
    ``sum(bid) > 1``, or buys No where ``sum(ask) < n - 1``. A set is incomplete if outcomes may be added later, so
    leave out events that the venue calls augmented.

    Returns ``start``, ``end`` and the columns of ``set_sums``, once with the prefix ``yes_`` and once with ``no_``.

    Raises:
        ValueError: as ``set_sums``; or ``yes`` and ``no`` differ in number.
    """
    if len(yes) != len(no):
        raise ValueError(f"every outcome has a Yes and a No; got {len(yes)} and {len(no)} tokens")
    n, tokens = len(yes), [*yes, *no]
    return _steps(prices, tokens, gaps).select(
        "start",
        "end",
        *_sums(range(n), tokens, fees, 1.0, prefix="yes_"),
        *_sums(range(n, 2 * n), tokens, fees, n - 1.0, prefix="no_"),
    )


def event_sums(
    prices: pl.DataFrame, markets: Sequence[PricedMarket], *, gaps: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Price the sets of an event's markets, of which exactly one comes true: ``neg_risk_sums`` of all of them.

    Args:
        prices: rows of the table ``prices``.
        markets: all markets of one event, each with the outcomes Yes and No, such as
            ``[market for market in night.markets if market.event_slug == event]``.
        gaps: rows of the table ``gaps``.

    Raises:
        ValueError: there are fewer than two markets, they are of several events, or one has other outcomes.
    """
    events = list(dict.fromkeys(market.event_slug for market in markets))
    if len(markets) < 2 or len(events) > 1:  # noqa: PLR2004  # a set
        raise ValueError(f"{len(markets)} markets of the events {events!r}; expected two or more of one event")
    sides = {side: [_token_of(market, side) for market in markets] for side in ("Yes", "No")}
    return neg_risk_sums(prices, yes=sides["Yes"], no=sides["No"], fees=fees_by_token(markets), gaps=gaps)


def episodes(steps: pl.DataFrame, value: str, *, above: float = 0.0, size: str | None = None) -> pl.DataFrame:
    """List the times during which a column of steps stayed above a bound.

    Returns ``start``, ``end``, ``peak`` (the largest value), ``size`` (the named column when the peak began; null if
    none is named), ``duration_ms``, and ``cut``: the value was unknown right before or after, or the steps end there,
    so the true duration may be longer.

    >>> ms = pl.Series([0, 40, 100, 250], dtype=pl.Int64).cast(pl.Datetime("ms")).cast(pl.Datetime("ns", "UTC"))
    >>> steps = pl.DataFrame({"start": ms[:-1], "end": ms[1:], "buy_net": [-0.01, 0.02, -0.01]})
    >>> episodes(steps, "buy_net").select("duration_ms", "peak", "cut").rows()
    [(60.0, 0.02, False)]
    """
    over = pl.col(value) > above
    at_peak = pl.lit(None, dtype=pl.Float64) if size is None else pl.col(size).get(pl.col(value).arg_max())
    cut = over.shift(1).is_null() | over.shift(-1).is_null()
    length = (pl.col("end") - pl.col("start")).dt.total_nanoseconds()
    return (
        steps.sort("start")
        .with_columns(_over=over, _cut=cut, _run=over.rle_id())
        .filter(pl.col("_over"))
        .group_by("_run", maintain_order=True)
        .agg(
            start=pl.col("start").first(),
            end=pl.col("end").last(),
            peak=pl.col(value).max(),
            size=at_peak,
            cut=pl.col("_cut").any(),
        )
        .select("start", "end", "peak", "size", "cut", duration_ms=length / 1e6)
    )


def arbitrages(sums: pl.DataFrame, edge: Edge = "net") -> pl.DataFrame:
    """List the times at which a whole set could be bought for less than it pays, in a frame of ``set_sums``.

    A frame of ``neg_risk_sums`` is accepted, too, and has two trades. Sales are not listed: selling every Yes is buying
    every No, since both have one book on the venue.

    Returns ``trade`` (``buy``; ``yes_buy`` or ``no_buy``) and the columns of ``episodes``, with ``peak`` in dollars a
    set and ``size`` in sets, and ``dollars``, which is ``peak * size``: the profit at that moment at the best prices.

    Raises:
        ValueError: ``edge`` is not one of its two words.
    """
    if edge not in {"gross", "net"}:
        raise ValueError(f"invalid edge {edge!r}; expected 'gross' or 'net'")
    trades = [name.removesuffix("_gross") for name in sums.columns if name.endswith("buy_gross")]
    found = [
        episodes(sums, f"{trade}_{edge}", size=f"{trade}_size").select(pl.lit(trade).alias("trade"), pl.all())
        for trade in trades
    ]
    return pl.concat(found).with_columns(dollars=pl.col("peak") * pl.col("size"))


def taker_fee(schedule: Fees, *, shares: float, price: float) -> float:
    """Return a fee in dollars: ``shares * rate * (price * (1 - price)) ** exponent``, 0 where the market has none.

    The formula is the venue's (``feeSchedule`` of its catalogue, and its official client); makers pay nothing.

    Raises:
        ValueError: the price is not between 0 and 1, ``shares`` is below 0, or the schedule is enabled and has no
            formula.

    >>> from pmlive.markets import FeeSchedule
    >>> round(taker_fee(FeeSchedule(enabled=True, rate=0.07, exponent=1), shares=100, price=0.5), 6)
    1.75
    """
    if not 0 <= price <= 1 or not shares >= 0:
        raise ValueError(
            f"invalid price {price!r} or shares {shares!r}; expected a price from 0 to 1, and shares of 0 or more"
        )
    rate, exponent = _terms(schedule)
    return shares * rate * (price * (1 - price)) ** exponent


def fee_per_share(schedule: Fees, price: pl.Expr) -> pl.Expr:
    """Return ``taker_fee`` of one share as an expression, in dollars a share; null where the price is null.

    Raises:
        ValueError: the schedule is enabled and has no formula.
    """
    rate, exponent = _terms(schedule)
    return rate * (price * (1 - price)) ** exponent


def _sums(
    places: Iterable[int], tokens: Sequence[str], fees: FeesByToken, pays: float, *, prefix: str = ""
) -> list[pl.Expr]:
    legs = list(places)
    schedules = [_schedule(fees, tokens[leg]) for leg in legs]
    made: list[pl.Expr] = []
    for action, side, sign in (("buy", "ask", -1), ("sell", "bid", 1)):
        prices = [pl.col(f"{side}_{leg}") for leg in legs]
        total = reduce(add, prices)
        fee = reduce(add, (fee_per_share(schedule, price) for schedule, price in zip(schedules, prices, strict=True)))
        smallest = pl.min_horizontal(f"{side}_size_{leg}" for leg in legs)
        gross = sign * (total - pays)
        made += [
            total.round(_DECIMALS).alias(f"{prefix}{action}_sum"),
            pl.when(total.is_not_null()).then(smallest).alias(f"{prefix}{action}_size"),
            gross.round(_DECIMALS).alias(f"{prefix}{action}_gross"),
            (gross - fee).round(_DECIMALS).alias(f"{prefix}{action}_net"),
        ]
    return made


def _schedule(fees: FeesByToken, token_id: str) -> Fees:
    if token_id not in fees:
        raise ValueError(f"no fees for token {token_id!r}; if its market has none, pass a schedule that is not enabled")
    return fees[token_id]


def _steps(prices: pl.DataFrame, tokens: Sequence[str], gaps: pl.DataFrame | None) -> pl.DataFrame:
    if len(set(tokens)) != len(tokens) or len(tokens) < 2:  # noqa: PLR2004  # a set
        raise ValueError(f"invalid tokens {list(tokens)!r}; expected two or more different ones")
    rows = by_token_and_time(prices.filter(pl.col("token_id").is_in(list(tokens))))
    last = last_time(prices)
    times = [rows.select(start="ts_recv")]
    if gaps is not None:
        times += [gaps.select(start=pl.col(edge).cast(TIME)).drop_nulls() for edge in ("started", "ended")]
    edges = pl.concat(times).unique().sort("start")
    edges = edges.filter(pl.col("start").is_between(first_time(rows), last))
    steps = edges.with_columns(end=pl.col("start").shift(-1).fill_null(last))
    for place, token_id in enumerate(tokens):
        steps = _leg(steps, rows, place, token_id, gaps)
    return steps.drop("token_id")


def _leg(steps: pl.DataFrame, rows: pl.DataFrame, place: int, token_id: str, gaps: pl.DataFrame | None) -> pl.DataFrame:
    columns = {f"{name}_{place}": column for name, column in _QUOTE.items()}
    found = as_of(steps.with_columns(token_id=pl.lit(token_id)), rows, columns, at="start")
    if gaps is None:
        return found
    touched = pl.lit(touched_by(found, gaps, conns=rows))
    return found.with_columns(pl.when(~touched).then(pl.col(name)).alias(name) for name in columns)


def _token_of(market: PricedMarket, side: str) -> str:
    places = [place for place, outcome in enumerate(market.outcomes) if outcome.lower() == side.lower()]
    if len(places) != 1:
        raise ValueError(f"{market.slug!r} has the outcomes {list(market.outcomes)!r}; expected Yes and No")
    return market.token_ids[places[0]]


def _terms(schedule: Fees) -> tuple[float, float]:
    if not schedule.enabled:
        return 0.0, 1.0
    if schedule.rate is None or schedule.exponent is None:
        raise ValueError(f"the schedule is enabled and has no formula: {schedule!r}")
    return schedule.rate, schedule.exponent
