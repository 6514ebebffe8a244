"""Requests for the past of markets: names become markets, pages become labelled frames, and what is missing is told."""

import re
import time
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

import polars as pl

from pmlive.errors import UnknownMarketError
from pmlive.history.shelf import SETTLED_NS, Coverage, HistoryFrame, HistoryWarning, Shelf
from pmlive.history.walk import (
    PRICES,
    TRADES,
    Page,
    Point,
    Priced,
    Trade,
    Walk,
    Walked,
    kept_for,
    prices,
    prices_page,
    trades_page,
)
from pmlive.markets import Catalogue, Market, Policy, reference
from pmlive.markets.http import HttpClient, Parameters
from pmlive.settings import Venue, cache_dir, is_loopback
from pmlive.tables import SCHEMAS, labelled
from pmlive.threads import LoopThread
from pmlive.times import DAY_NS, Interval, Time, interval, nanoseconds, utc

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Cache", "History"]

T = TypeVar("T")
# ``"keep"`` is the folder of the environment, ``"off"`` none; another folder is named by its path.
Cache: TypeAlias = Literal["keep", "off"] | Path

_TRADES_A_PAGE = 1_000
# The venue lists a market's trades of three years.
_TRADES_KEPT_NS = 3 * 365 * DAY_NS
_NARROWEST_NS, _WIDEST_NS = 60 * 10**9, DAY_NS
# Prices by default: the narrowest buckets that are kept for as long, by the age of the first of them.
_BY_AGE = ((7, 60), (60, 300), (90, 1_800))
_BY_DEFAULT = 10_800
# A walk has thousands of requests, and is to outlast a busy hour of the venue.
_POLICY = Policy(timeout=30.0, attempts=8, longest_pause=120.0)
# The venue has no prices from before 2022-11-18.
_OLDEST_PRICE = nanoseconds("2022-11-18")
_NO_NAME = re.compile(r"[^a-z0-9.-]+")
_S = 10**9


class History:
    """The past of markets as one venue tells it; its methods wait, in a script and in a notebook alike."""

    def __init__(
        self,
        venue: Venue | None = None,
        *,
        cache: Cache = "keep",
        policy: Policy = _POLICY,
        clock: Callable[[], int] = time.time_ns,
        piece: int = 10 * _TRADES_A_PAGE,
    ) -> None:
        """Prepare requests; nothing is asked yet.

        Args:
            venue: the addresses; by default those of the environment, else Polymarket's.
            cache: where answers that no longer change are kept: in ``PMLIVE_CACHE_DIR``, by default a folder of the
                user, in another folder, or not at all. Nothing is kept of a venue on this computer unless a folder is
                given, since such a venue is another one each time.
            policy: how patiently to ask.
            clock: returns the time in nanoseconds since 1970.
            piece: how many trades are kept together.

        Raises:
            ValueError: some addresses are on this computer and that of the data API is not, or the other way round.
        """
        self._venue = venue = venue or Venue.from_environment()
        if is_loopback(venue.gamma) != is_loopback(venue.data):
            raise ValueError(
                f"the catalogue is at {venue.gamma} and the data API at {venue.data}, which are two venues; "
                "set PMLIVE_DATA_URL beside PMLIVE_GAMMA_URL, or give a pmlive.Venue with data="
            )
        self._cache = _folder(venue, cache)
        self._policy, self._clock, self._piece = policy, clock, piece

    def trades(
        self, market: str | Market, *, outcome: str | None = None, start: Time | None = None, end: Time | None = None
    ) -> HistoryFrame:
        """Return the trades of a market, as ``pmlive.history.trades`` does."""
        now = self._clock()
        first, last = _bounds(start, end, now)

        async def ask(catalogue: Catalogue, data: HttpClient) -> tuple[Market, str | None, Walked]:
            found, token_id = await _meant(catalogue, market, outcome)
            walk = Walk(
                _asks_trades(data, found.condition_id),
                self._shelf("trades", found.condition_id, TRADES),
                since=first,
                now=now,
                piece=self._piece,
            )
            return found, token_id, await walk.run()

        found, token_id, walked = self._run(ask)
        frame = _trades_frame(walked.rows, found).filter(_between(first, last))
        if token_id is not None:
            frame = frame.filter(pl.col("token_id") == token_id)
        return _told(frame, _trades_coverage(walked, found, first, last, now, frame.height))

    def prices(
        self,
        market: str | Market,
        *,
        outcome: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        every: Interval | None = None,
    ) -> HistoryFrame:
        """Return the prices of a market's outcomes, as ``pmlive.history.prices`` does."""
        now = self._clock()
        given = None if every is None else _bucket(every)

        async def ask(catalogue: Catalogue, data: HttpClient) -> tuple[Market, int, int, dict[str, Priced]]:
            found, token_id = await _meant(catalogue, market, outcome)
            first = _first(found, start, now)
            bucket = given or next((width for days, width in _BY_AGE if now - first <= days * DAY_NS), _BY_DEFAULT)
            last = now if end is None else max(first, nanoseconds(end))
            asked = [token_id] if token_id is not None else found.token_ids
            return (
                found,
                first,
                bucket,
                {token: await self._priced(data, token, first, last, bucket) for token in asked},
            )

        found, first, bucket, priced = self._run(ask)
        last = now if end is None else max(first, nanoseconds(end))
        frame = _prices_frame(priced, found)
        return _told(frame, _prices_coverage(priced, found, (first, last), now, bucket))

    async def _priced(self, data: HttpClient, token: str, first: int, last: int, bucket: int) -> Priced:
        shelf = self._shelf(f"prices-{bucket}", token, PRICES)
        return await prices(
            _asks_prices(data, token, bucket), shelf, bucket=bucket, start=first, end=last, now=self._clock()
        )

    def _shelf(self, kind: str, name: str, schema: dict[str, pl.DataType | type[pl.DataType]]) -> Shelf:
        return Shelf(None if self._cache is None else self._cache / kind / name, schema)

    def _run(self, ask: Callable[[Catalogue, HttpClient], Coroutine[object, object, T]]) -> T:
        async def run() -> T:
            async with Catalogue(self._venue, policy=self._policy) as catalogue:
                data = HttpClient(self._venue.data, self._policy)
                try:
                    return await ask(catalogue, data)
                finally:
                    await data.close()

        thread = LoopThread("pmlive history", "history")
        try:
            # Ctrl-C cancels it; what was kept until then stays.
            return thread.wait(run())
        finally:
            thread.stop()


def _folder(venue: Venue, cache: Cache) -> Path | None:
    if cache == "off" or (cache == "keep" and is_loopback(venue.data)):
        return None
    root = cache_dir() / "history" if cache == "keep" else Path(cache)
    return root / _NO_NAME.sub("_", urlsplit(venue.data).netloc.lower())


def _bounds(start: Time | None, end: Time | None, now: int) -> tuple[int, int]:
    first = 0 if start is None else nanoseconds(start)
    last = now if end is None else nanoseconds(end)
    if last < first:
        raise ValueError(f"the end, {utc(last)}, is before the start, {utc(first)}")
    return first, last


async def _meant(catalogue: Catalogue, market: str | Market, outcome: str | None) -> tuple[Market, str | None]:
    """Return the market that is meant, and the token if only one is."""
    found = market if isinstance(market, Market) else await catalogue.market(market)
    if not found.condition_id:
        raise UnknownMarketError(f"market {found.slug!r} has no condition id yet, so the venue has no history of it")
    if outcome is not None:
        return found, found.token_of(outcome)
    named = market if isinstance(market, str) and reference(market).kind == "token id" else None
    return found, named.strip() if named is not None and named.strip() in found.token_ids else None


def _asks_trades(data: HttpClient, condition_id: str) -> Callable[[str | None], Coroutine[object, object, Page[Trade]]]:
    # The cursor holds no filter: all of them are sent with every page.
    parameters = {
        "condition": condition_id,
        "taker_only": "true",
        "filter_type": "TOKENS",
        "filter_amount": "0",
        "limit": str(_TRADES_A_PAGE),
    }

    async def ask(cursor: str | None) -> Page[Trade]:
        body = await _asked(data, "/v2/trades", parameters if cursor is None else parameters | {"cursor": cursor})
        return trades_page(body, condition_id=condition_id)

    return ask


def _asks_prices(
    data: HttpClient, token_id: str, bucket: int
) -> Callable[[int, int, str | None], Coroutine[object, object, Page[Point]]]:
    async def ask(first: int, last: int, cursor: str | None) -> Page[Point]:
        parameters = {
            "token_id": token_id,
            "start": str(max(first, 1)),
            "end": str(last),
            "bucket_seconds": str(bucket),
            "limit": "10000",
        }
        body = await _asked(
            data, "/v2/prices-history", parameters if cursor is None else parameters | {"cursor": cursor}
        )
        return prices_page(body)

    return ask


async def _asked(data: HttpClient, path: str, parameters: Parameters) -> bytes:
    body = await data.get(path, parameters)
    if body is None:
        raise UnknownMarketError(f"the data API has no {path}; a newer pmlive may know its successor")
    return body


def _bucket(every: Interval) -> int:
    length = interval(every)
    if length % _S or not _NARROWEST_NS <= length <= _WIDEST_NS:
        raise ValueError(f"the venue gives prices each 60 s to one day, in whole seconds; got {every!r}")
    return length // _S


def _first(market: Market, start: Time | None, now: int) -> int:
    if start is None and market.start_date is None:
        raise ValueError(f"the catalogue does not say when {market.slug!r} began; give start=")
    began = _OLDEST_PRICE if market.start_date is None else _ns(market.start_date)
    return min(now, began if start is None else max(began, nanoseconds(start)))


def _ns(moment: "datetime") -> int:
    return nanoseconds(moment)


# --- frames ---


def _between(first: int, last: int) -> pl.Expr:
    return (pl.col("ts_event").dt.epoch("ns") >= first) & (pl.col("ts_event").dt.epoch("ns") < last)


def _trades_frame(rows: pl.DataFrame, market: Market) -> pl.DataFrame:
    schema = SCHEMAS["trades"]
    frame = rows.reverse().select(
        pl.col("time").cast(schema["ts_event"]).alias("ts_event"),
        "token_id",
        pl.lit(market.condition_id).alias("market"),
        "price",
        "size",
        pl.col("side").cast(schema["side"]),
        "transaction_hash",
        "proxy_wallet",
        pl.lit("rest").alias("source"),
    )
    return labelled(frame, _names(market))


def _prices_frame(priced: dict[str, Priced], market: Market) -> pl.DataFrame:
    time_type = SCHEMAS["prices"]["ts_event"]
    parts = [one.rows.with_columns(pl.lit(token).alias("token_id")) for token, one in priced.items()]
    frame = pl.concat(parts).select(
        pl.col("time").cast(time_type),
        (pl.col("time") + pl.col("seconds") * _S).cast(time_type).alias("ts_event"),
        "token_id",
        pl.lit(market.condition_id).alias("market"),
        "price",
        pl.lit("rest").alias("source"),
    )
    return labelled(frame.sort("time", maintain_order=True), _names(market))


def _names(market: Market) -> dict[str, tuple[str, str]]:
    return {token: (market.slug, outcome) for outcome, token in market.tokens.items()}


# --- what is missing ---


def _told(frame: pl.DataFrame, coverage: Coverage) -> HistoryFrame:
    for sentence in coverage.missing:
        warnings.warn(sentence, HistoryWarning, stacklevel=4)
    return HistoryFrame(frame, coverage)


def _trades_coverage(walked: Walked, market: Market, first: int, last: int, now: int, rows: int) -> Coverage:
    missing: list[str] = []
    began = 0 if market.start_date is None else _ns(market.start_date)
    listed_from = walked.asked - _TRADES_KEPT_NS
    oldest = walked.rows["time"].min() if walked.rows.height else None
    given_from = first
    if walked.ended and max(first, began) < listed_from:
        given_from = min(listed_from, oldest) if isinstance(oldest, int) else listed_from
        if began:
            missing.append(
                f"trades of {market.slug} from {utc(max(first, began))} to {utc(given_from)} UTC are missing: "
                "the venue lists those of three years only"
            )
    return Coverage(
        asked_from=first,
        asked_to=last,
        given_from=given_from,
        given_to=min(last, now),
        settled_to=min(last, now - SETTLED_NS),
        rows=rows,
        requests=walked.requests,
        cached=walked.cached,
        repeated=walked.repeated,
        missing=tuple(missing),
    )


def _prices_coverage(
    priced: dict[str, Priced], market: Market, asked: tuple[int, int], now: int, bucket: int
) -> Coverage:
    first, last = asked
    began = max(first, 0 if market.start_date is None else _ns(market.start_date))
    missing: list[str] = []
    given_from = first
    for token, one in priced.items():
        oldest = one.rows["time"].min() if one.rows.height else None
        begins = oldest if isinstance(oldest, int) else last
        days = kept_for(bucket)
        if days is not None and began < now - days * DAY_NS and begins >= began + bucket * _S:
            given_from = max(given_from, begins)
            missing.append(
                f"prices of {market.slug}, {market.outcome_of(token)}, each {bucket} s begin at {utc(begins)} instead "
                f"of {utc(began)} UTC: the venue keeps them for {days} days or little more; wider ones, such as "
                f"every={_wider(bucket)!r}, reach further back"
            )
    return Coverage(
        asked_from=first,
        asked_to=last,
        given_from=given_from,
        given_to=min(last, now),
        settled_to=min(last, now - SETTLED_NS),
        rows=sum(one.rows.height for one in priced.values()),
        requests=sum(one.requests for one in priced.values()),
        cached=sum(one.cached for one in priced.values()),
        missing=tuple(missing),
    )


def _wider(bucket: int) -> str:
    return next((name for below, name in ((300, "5m"), (1_800, "30m")) if bucket < below), "3h")
