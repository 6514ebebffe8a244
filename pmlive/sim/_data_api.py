"""The data API of the simulated venue: trades page by page, and prices in buckets of time, of what happened so far.

It keeps to what is documented of ``/v2/trades`` and ``/v2/prices-history`` (docs.polymarket.com, data API v2): signed
cursors and no offset, at most 1,000 trades and 10,000 prices a page, trades of three years, windows of 15 days, and
prices whose finer buckets are kept for days only.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from pmlive.sim._exchange import Exchange
from pmlive.sim._markets import DOLLAR, Market, MarketMessage
from pmlive.sim._rest import HttpRequest, HttpResponse, json_response

__all__ = ["DataApi"]

_DAY = 86_400
_TRADES_KEPT = 3 * 365 * _DAY
_MOST_TRADES, _TRADES_BY_DEFAULT, _MOST_POINTS = 1_000, 100, 10_000
_LONGEST_WINDOW = 15 * _DAY
_SMALLEST = 0.01
# Buckets below a width are kept for a time; wider ones for good.
_KEPT = ((300, 7 * _DAY), (1_800, 60 * _DAY), (10_800, 90 * _DAY))
_NARROWEST, _WIDEST = 60, _DAY
# The oldest of more are forgotten.
_MOST_KEPT = 500_000


class _Trade(msgspec.Struct, frozen=True):
    """A trade as the market channel tells it; times are text, in milliseconds."""

    asset_id: str
    market: str
    price: str
    size: str
    side: str
    timestamp: str
    transaction_hash: str


_TRADE: msgspec.json.Decoder[_Trade] = msgspec.json.Decoder(_Trade)


class _RefusedError(Exception):
    """A request with a parameter that cannot be served."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(problem)
        self.parameter = parameter


class _Point(msgspec.Struct, frozen=True):
    timestamp: int
    price: float
    resolution_seconds: int


class DataApi:
    """Answers about the trades and prices that it was told of."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        # By condition id, oldest first: the sequence number of a trade is its place.
        self._trades: defaultdict[str, list[_Trade]] = defaultdict(list)
        # The middle of each token's book at the end of a second, by its second.
        self._seen: defaultdict[str, dict[int, float]] = defaultdict(dict)

    def note(self, messages: Sequence[MarketMessage]) -> None:
        """Keep what the messages of one step say of trades and prices."""
        for message in messages:
            if message.kind == "last_trade_price":
                trades = self._trades[message.market]
                trades.append(_TRADE.decode(message.text))
                del trades[:-_MOST_KEPT]
        for condition_id in {message.market for message in messages if message.kind == "price_change"}:
            market = self._exchange.market_of_condition(condition_id)
            if market is not None:
                self._see(market)

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        routes = {"/v2/trades": self._trades_page, "/v2/prices-history": self._prices_page}
        route = routes.get(request.path.rstrip("/"))
        if route is None or request.method != "GET":
            return _error(404, "not_found", "no such route")
        try:
            return route(request)
        except _RefusedError as refused:
            return _error(400, "invalid_request", str(refused), parameter=refused.parameter)

    def _see(self, market: Market) -> None:
        state = self._exchange.model(market).state
        for outcome, token in enumerate(market.token_ids):
            middle = (state.book.best_bid(outcome) + state.book.best_ask(outcome)) / 2 / DOLLAR
            self._seen[token][state.changed_at // 1000] = middle

    def _trades_page(self, request: HttpRequest) -> HttpResponse:
        _refuse_offset(request)
        newest, limit = _cursor(request, _whole(request, "limit", _TRADES_BY_DEFAULT, most=_MOST_TRADES))
        since = self._exchange.clock() // 1000 - _TRADES_KEPT
        rows = list(self._rows(request, since))
        # Rows are counted from the oldest on, so that later trades move no page.
        rest = rows[: len(rows) if newest is None else newest]
        page = rest[-limit:][::-1] if limit else []
        before = len(rest) - len(page)
        return _page(page, limit, None if not before else _signed(before, limit))

    def _rows(self, request: HttpRequest, since: int) -> Iterator[dict[str, object]]:
        conditions = [each for each in request.first("condition").split(",") if each]
        if any(not each.startswith("0x") for each in conditions):
            raise _RefusedError("condition", f"malformed condition id {conditions[0]!r}")
        taker_only = request.first("taker_only", "true") != "false"
        for condition in conditions:
            market = self._exchange.market_of_condition(condition)
            for trade in self._trades[condition] if market else ():
                if market and int(trade.timestamp) // 1000 >= since and float(trade.size) >= _SMALLEST:
                    yield _trade_row(market, trade, trade.side)
                    if not taker_only:
                        yield _trade_row(market, trade, "BUY" if trade.side == "SELL" else "SELL")

    def _prices_page(self, request: HttpRequest) -> HttpResponse:
        _refuse_offset(request)
        token = request.first("token_id")
        market = self._exchange.market_of_token(token)
        start, end = _whole(request, "start", 0), _whole(request, "end", self._exchange.clock() // 1000 + 1)
        bucket = _whole(request, "bucket_seconds", _NARROWEST)
        if not start or not start <= end <= start + _LONGEST_WINDOW:
            raise _RefusedError("start", "a window begins at start, and is 15 days long at most")
        if not _NARROWEST <= bucket <= _WIDEST:
            raise _RefusedError("bucket_seconds", f"a bucket has {_NARROWEST} to {_WIDEST} seconds")
        points = [] if market is None else self._points(market, token, start, end, bucket)
        at, limit = _cursor(request, _whole(request, "limit", _MOST_POINTS, most=_MOST_POINTS))
        at = at or 0
        more = at + limit < len(points)
        listed = [msgspec.structs.asdict(point) for point in points[at : at + limit]]
        return _page(listed, limit, _signed(at + limit, limit) if more else None)

    def _points(self, market: Market, token: str, start: int, end: int, bucket: int) -> list[_Point]:
        now = self._exchange.clock() // 1000
        kept = next((seconds for below, seconds in _KEPT if bucket < below), now)
        seen = self._seen[token]
        seconds = sorted(seen)
        inside = seconds[bisect_left(seconds, max(start, now - kept)) : bisect_left(seconds, end)]
        if not inside:
            return []
        # The last observation in each bucket, named by the bucket's start.
        last = [at for at, after in pairwise(inside) if at // bucket != after // bucket] + inside[-1:]
        points = [_Point(at // bucket * bucket, seen[at], bucket) for at in last]
        winner = self._exchange.model(market).winner
        if winner is None:
            return [*points, _Point(inside[-1], seen[inside[-1]], 0)]
        settled = float(market.token_ids.index(token) == winner)
        return [*points, _Point(min(points[-1].timestamp + bucket, end), settled, 0)]


def _trade_row(market: Market, trade: _Trade, side: str) -> dict[str, object]:
    outcome = market.token_ids.index(trade.asset_id)
    return {
        "proxy_wallet": f"0x{hashlib.sha256(f'{trade.transaction_hash}{side}'.encode()).hexdigest()[:40]}",
        "side": side,
        "token_id": trade.asset_id,
        "condition_id": trade.market,
        "size": float(trade.size),
        "price": float(trade.price),
        "timestamp": int(trade.timestamp) // 1000,
        "title": market.question,
        "slug": market.slug,
        "icon": "",
        "event_slug": market.event_slug,
        "outcome": market.outcomes[outcome],
        "outcome_index": outcome,
        "name": "",
        "pseudonym": "",
        "bio": "",
        "profile_image": "",
        "profile_image_optimized": "",
        "transaction_hash": trade.transaction_hash,
    }


def _page(rows: Sequence[dict[str, object]], limit: int, following: str | None) -> HttpResponse:
    pagination = {"limit": limit, "offset": 0, "has_more": following is not None, "next_cursor": following}
    return json_response({"data": rows, "pagination": pagination})


def _error(status: int, code: str, problem: str, *, parameter: str | None = None) -> HttpResponse:
    more = {} if parameter is None else {"parameter": parameter}
    return json_response(
        {"error": problem, "code": code, "retryable": False, "trace_id": "0" * 32, **more}, status=status
    )


def _refuse_offset(request: HttpRequest) -> None:
    if "offset" in request.query:
        raise _RefusedError("offset", "there is no offset; follow next_cursor")


def _whole(request: HttpRequest, name: str, default: int, *, most: int | None = None) -> int:
    text = request.first(name) or str(default)
    if not text.isascii() or not text.isdigit() or (most is not None and int(text) > most):
        raise _RefusedError(name, f"{name} is a whole number" + (f" of at most {most}" if most is not None else ""))
    return int(text)


def _signature(text: str) -> str:
    return hashlib.sha256(f"pmlive/{text}".encode()).hexdigest()[:16]


def _signed(at: int, limit: int) -> str:
    text = f"{at} {limit}"
    return urlsafe_b64encode(f"{text} {_signature(text)}".encode()).decode()


def _cursor(request: HttpRequest, limit: int) -> tuple[int | None, int]:
    """Read where a page begins and how long it is; the size in a cursor wins."""
    cursor = request.first("cursor")
    if not cursor:
        return None, limit
    try:
        at, size, signature = urlsafe_b64decode(cursor).decode().split(" ")
    except ValueError:
        raise _RefusedError("cursor", "invalid cursor") from None
    if signature != _signature(f"{at} {size}"):
        raise _RefusedError("cursor", "invalid cursor")
    return int(at), int(size)
