"""The REST calls of the CLOB and of Gamma, answered from the simulated markets, and the HTTP/1.1 server for them."""

import asyncio
import socket
from asyncio.trsock import TransportSocket
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from pmlive.logs import get_logger
from pmlive.sim._clob_channels import CREDENTIALS
from pmlive.sim._exchange import Exchange, MarketModel
from pmlive.sim._faults import Faults, Script
from pmlive.sim._markets import DOLLAR, Market, fee_schedule, price_text, trade_price_text

__all__ = [
    "ClobApi",
    "GammaApi",
    "Handler",
    "HttpRequest",
    "HttpResponse",
    "RestServer",
    "json_response",
    "reason_phrase",
    "stop_accepting",
]

_NO_BOOK = "No orderbook exists for the requested token id"
_MAX_BOOKS = 500
# The end that markets without one state.
_DEFAULT_END = "2028-01-01T00:00:00Z"
_PAGE_SIZE = 100
# The query parameters for token ids of protocol V1 and of V2.
_TOKEN_PARAMETERS = ("clob_token_ids", "position_ids")

logger = get_logger(__name__)
_MAX_HEAD, _MAX_BODY = 64 * 1024, 8 * 1024 * 1024
_TIMEOUT = 60.0


class HttpRequest(msgspec.Struct, frozen=True):
    """The parts of a request that matter here; ``query`` keeps repeated names."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a query name."""
        return self.query.get(name, [default])[0]


class HttpResponse(msgspec.Struct, frozen=True):
    """A response: status, body, and headers beyond the usual ones."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


Handler: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]


class RestServer:
    """A server that answers each request by ``respond``."""

    def __init__(self, respond: Handler) -> None:
        self._respond = respond
        self._server: asyncio.Server | None = None
        self._closing = False
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._admit, host, port, limit=_MAX_HEAD)
        address: tuple[str, int] = self._server.sockets[0].getsockname()
        return address[1]

    async def close(self) -> None:
        """Stop listening and end all connections."""
        self._closing = True
        if self._server is not None:
            await stop_accepting(self._server.sockets)
            self._server.close()
        for writer, task in self._connections.items():
            task.cancel()
            # A task that is cancelled before it begins never closes its connection.
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections.values(), timeout=1)

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:
            writer.transport.abort()
            return
        self._connections[writer] = task = asyncio.create_task(self._serve(reader, writer))
        task.add_done_callback(lambda _: self._connections.pop(writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await _serve_requests(reader, writer, self._respond)
        except asyncio.CancelledError:
            # Python 3.11 reports a cancelled connection task as an unhandled error.
            if not self._closing:
                raise
        except ValueError as error:
            logger.info("invalid HTTP request: %s", error)
        finally:
            writer.close()


class _BookRequest(msgspec.Struct):
    token_id: str


class ClobApi:
    """The CLOB's REST calls."""

    def __init__(self, exchange: Exchange, *, script: Script | None = None) -> None:
        self._exchange = exchange
        self._script = script
        self._routes: dict[tuple[str, str], Callable[[HttpRequest], HttpResponse]] = {
            ("GET", "/"): lambda _: json_response("OK"),
            ("GET", "/ok"): lambda _: json_response("OK"),
            ("GET", "/time"): lambda _: json_response(exchange.clock() // 1000),
            ("GET", "/book"): self._book,
            ("POST", "/books"): self._books,
            ("GET", "/tick-size"): self._tick_size,
            ("GET", "/neg-risk"): self._neg_risk,
            ("GET", "/fee-rate"): lambda _: json_response({"base_fee": 0}),
            ("GET", "/midpoint"): self._midpoint,
            ("GET", "/last-trade-price"): self._last_trade_price,
            ("POST", "/auth/api-key"): _api_key,
            ("GET", "/auth/derive-api-key"): _api_key,
        }

    def respond(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        route = self._routes.get((request.method, request.path.rstrip("/") or "/"))
        if route is not None:
            return route(request)
        kind, _, key = request.path.strip("/").partition("/")
        if request.method == "GET" and kind in ("markets", "clob-markets"):
            return self._market(self._exchange.market_of_condition(key))
        if request.method == "GET" and kind == "markets-by-token":
            return self._by_token(key)
        return _error("Not found")

    def _book(self, request: HttpRequest) -> HttpResponse:
        book = self._book_text(request.first("token_id"))
        return _error(_NO_BOOK) if book is None else HttpResponse(200, book.encode())

    def _books(self, request: HttpRequest) -> HttpResponse:
        try:
            requests = msgspec.json.decode(request.body, type=list[_BookRequest])
        except msgspec.DecodeError:
            return _error("Invalid payload", status=400)
        if len(requests) > _MAX_BOOKS:
            return _error("Payload exceeds the limit", status=400)
        books = [book for item in requests if (book := self._book_text(item.token_id)) is not None]
        return HttpResponse(200, f"[{','.join(books)}]".encode())

    def _book_text(self, token: str) -> str | None:
        if self._script is not None:
            return self._script.rest.get(token)
        market = self._exchange.market_of_token(token)
        if market is None or self._exchange.is_settled(token):
            return None
        return self._exchange.model(market).state.rest_book(market.token_ids.index(token))

    def _tick_size(self, request: HttpRequest) -> HttpResponse:
        market = self._exchange.market_of_token(request.first("token_id"))
        if market is None:
            return _error("market not found")
        return json_response({"minimum_tick_size": self._exchange.model(market).state.tick / DOLLAR})

    def _neg_risk(self, request: HttpRequest) -> HttpResponse:
        market = self._exchange.market_of_token(request.first("token_id"))
        return _error("market not found") if market is None else json_response({"neg_risk": market.neg_risk})

    def _midpoint(self, request: HttpRequest) -> HttpResponse:
        token = request.first("token_id")
        market = self._exchange.market_of_token(token)
        if market is None or self._exchange.is_settled(token):
            return _error(_NO_BOOK)
        book, outcome = self._exchange.model(market).state.book, market.token_ids.index(token)
        twice = book.best_bid(outcome) + book.best_ask(outcome)
        return json_response({"mid": price_text(twice // 2) + ("5" if twice % 2 else "")})

    def _last_trade_price(self, request: HttpRequest) -> HttpResponse:
        market = self._exchange.market_of_token(request.first("token_id"))
        if market is None:
            return _error("market not found")
        price = self._exchange.model(market).state.last_trade
        return json_response({"price": trade_price_text(price), "side": "BUY"})

    def _by_token(self, token: str) -> HttpResponse:
        market = self._exchange.market_of_token(token)
        if market is None:
            return _error("market not found")
        first, second = market.token_ids
        ids = {"condition_id": market.condition_id, "primary_token_id": first, "secondary_token_id": second}
        return json_response(ids)

    def _market(self, market: Market | None) -> HttpResponse:
        if market is None:
            return _error("market not found")
        model = self._exchange.model(market)
        prices = (model.probability, 1 - model.probability)
        tokens = [
            {
                "token_id": token,
                "outcome": outcome,
                "price": round(price, 3) if model.winner is None else int(model.winner == number),
                "winner": model.winner == number,
            }
            for number, (token, outcome, price) in enumerate(
                zip(market.token_ids, market.outcomes, prices, strict=True)
            )
        ]
        return json_response(
            {
                "enable_order_book": model.winner is None,
                "active": True,
                "closed": model.winner is not None,
                "archived": False,
                "accepting_orders": not model.closed_at,
                "minimum_order_size": market.min_order_size,
                "minimum_tick_size": model.state.tick / DOLLAR,
                "condition_id": market.condition_id,
                "question_id": market.question_id,
                "question": market.question,
                "description": market.description,
                "market_slug": market.slug,
                "neg_risk": market.neg_risk,
                "is_50_50_outcome": False,
                "tokens": tokens,
                "tags": market.tags,
            }
        )


class GammaApi:
    """The Gamma REST calls: the markets and events, in the venue's own field forms."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange = exchange
        self._faults = faults

    def respond(self, request: HttpRequest) -> HttpResponse:  # noqa: PLR0911  # the table of routes
        """Answer a request."""
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["markets"]:
                return json_response([self._market(market) for market in self._page(self._matching(request), request)])
            case "GET", ["events"]:
                return json_response(self._events(self._page(self._matching(request), request), request))
            case "GET", ["markets", "slug", slug]:
                return self._market_response(self._exchange.market(slug))
            case "GET", ["events", "slug", slug]:
                return self._event_response(slug)
            case "GET", ["markets" | "events" as kind, "keyset"]:
                return self._keyset(request, kind)
            case "GET", ["markets", number]:
                return self._market_response(next((m for m in self._exchange if m.id == number), None))
            case "GET", ["public-search"]:
                return self._search(request)
            case _:
                return _not_found()

    def _matching(self, request: HttpRequest) -> list[Market]:
        """Find the markets that the query names, or all; resolved ones only with ``closed=true``."""
        closed = request.first("closed", "false") == "true"
        return [market for market in self._candidates(request) if self._is_resolved(market) == closed]

    def _candidates(self, request: HttpRequest) -> Iterable[Market]:
        query = request.query
        if "slug" in query:
            events = request.path.startswith("/events")
            found = [
                market
                for slug in query["slug"]
                for market in (self._by_event_slug(slug) if events else self._by_slug(slug))
            ]
        elif "condition_ids" in query:
            found = [self._exchange.market_of_condition(condition) for condition in query["condition_ids"]]
        elif parameter := next((name for name in _TOKEN_PARAMETERS if name in query), None):
            wanted = set(query[parameter])
            found = [market for market in self._exchange if self._has_token(market, parameter, wanted)]
        else:
            return self._exchange
        return {market.condition_id: market for market in found if market is not None}.values()

    def _by_slug(self, slug: str) -> list[Market]:
        market = self._exchange.market(slug)
        return [] if market is None else [market]

    def _by_event_slug(self, slug: str) -> list[Market]:
        known = [market for market in self._exchange if market.event_slug == slug]
        return known or [market for market in self._by_slug(slug) if market.event_slug == slug]

    def _page(self, markets: list[Market], request: HttpRequest) -> list[Market]:
        at, limit = _integer(request.first("offset"), 0), min(_integer(request.first("limit"), _PAGE_SIZE), _PAGE_SIZE)
        return markets[at : at + limit]

    def _keyset(self, request: HttpRequest, kind: str) -> HttpResponse:
        cursor = request.first("after_cursor")
        try:
            at = int(urlsafe_b64decode(cursor)) if cursor else 0
        except ValueError:
            return json_response({"error": "invalid cursor"}, status=400)
        limit = max(1, min(_integer(request.first("limit"), _PAGE_SIZE), _PAGE_SIZE))
        matching = self._matching(request)
        page = matching[at : at + limit]
        listed = [self._market(m) for m in page] if kind == "markets" else self._events(page, request)
        more = at + limit < len(matching)
        return json_response(
            {kind: listed, "next_cursor": urlsafe_b64encode(b"%d" % (at + limit)).decode() if more else None}
        )

    def _search(self, request: HttpRequest) -> HttpResponse:
        words = request.first("q").lower().split()
        found = [market for market in self._exchange if _contains(market, words)]
        events = self._events(self._page(found, request), request)
        return json_response({"events": events, "pagination": {"hasMore": False, "totalResults": len(events)}})

    def _market_response(self, market: Market | None) -> HttpResponse:
        return _not_found() if market is None else json_response(self._market(market))

    def _event_response(self, slug: str) -> HttpResponse:
        markets = self._by_event_slug(slug)
        return json_response(self._event(markets)) if markets else _not_found()

    def _events(self, markets: Iterable[Market], request: HttpRequest) -> list[dict[str, object]]:
        """Group markets into their events, with all markets of each event."""
        slugs = dict.fromkeys(market.event_slug for market in markets)
        closed = request.first("closed")
        siblings = ((slug, self._by_event_slug(slug)) for slug in slugs)
        return [
            self._event(found) for _, found in siblings if found and (closed != "true" or self._is_resolved(found[0]))
        ]

    def _is_resolved(self, market: Market) -> bool:
        return self._exchange.is_resolved(market)

    def _event(self, markets: list[Market]) -> dict[str, object]:
        closed = all(self._is_resolved(market) for market in markets)
        listed = [self._market(market) for market in markets]
        return _event_head(markets[0], closed=closed) | {"markets": listed, "tags": _tags(markets[0])}

    def _market(self, market: Market) -> dict[str, object]:
        model = self._exchange.model(market)
        events = {"events": [_event_head(market, closed=self._is_resolved(market))]}
        hidden = self._faults.strike("no_ids", "gamma", market.token_ids)
        ids = _token_id_fields((), ()) if hidden else _token_id_fields(*self._ids(market))
        return _listing_fields(market) | ids | _state_fields(model) | events

    def _ids(self, market: Market) -> tuple[Sequence[str], Sequence[str]]:
        """Return the V1 and the V2 token ids; a market has those of one version and may state both."""
        own, other = market.token_ids, market.other_ids or ()
        return (own, other) if market.version == "v1" else (other, own)

    def _has_token(self, market: Market, parameter: str, wanted: set[str]) -> bool:
        """Return whether a market is found by token ids; with the fault ``no_ids`` it is not."""
        ids = self._ids(market)[_TOKEN_PARAMETERS.index(parameter)]
        return bool(wanted & set(ids)) and not self._faults.find("no_ids", "gamma", market.token_ids)


def json_response(value: object, *, status: int = 200) -> HttpResponse:
    """Return a response whose body is a value as JSON."""
    return HttpResponse(status, msgspec.json.encode(value))


def reason_phrase(status: int) -> str:
    """Return a status code's reason phrase; one that only proxies use (520) has none.

    >>> reason_phrase(404), reason_phrase(520)
    ('Not Found', 'Unknown')
    """
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


async def stop_accepting(listeners: Iterable[TransportSocket | socket.socket]) -> None:
    """Accept no more connections, and wait until the loop has handed those accepted to their server.

    A server that closes before that loses sockets, which then stay open.
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    # One turn of the loop each for the task, its transport and the transport's protocol.
    for _ in range(3):
        await asyncio.sleep(0)


def _api_key(_: HttpRequest) -> HttpResponse:
    return json_response(CREDENTIALS.answer())


def _error(error: str, *, status: int = 404) -> HttpResponse:
    return json_response({"error": error}, status=status)


def _not_found() -> HttpResponse:
    return json_response({"type": "not found error", "error": "not found"}, status=404)


def _listing_fields(market: Market) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": market.id,
        "question": market.question,
        "conditionId": market.condition_id,
        "slug": market.slug,
        "resolutionSource": "",
        "endDate": _iso(market.end) if market.end else _DEFAULT_END,
        "startDate": "2026-01-01T00:00:00Z",
        "description": market.description,
        "outcomes": _json_text(market.outcomes),
        "active": True,
        "archived": False,
        "restricted": True,
        "groupItemTitle": market.group_title,
        "questionID": market.question_id,
        "enableOrderBook": True,
        "orderMinSize": market.min_order_size,
        "version": market.version,
        "negRisk": market.neg_risk,
        "feesEnabled": market.fee_rate > 0,
        "feeType": "crypto_fees_v2" if market.fee_rate else None,
        "automaticallyResolved": bool(market.series),
        "umaResolutionStatuses": "[]",
    }
    if market.fee_rate:
        fields["feeSchedule"] = fee_schedule(market)
    if market.start is not None:
        fields["eventStartTime"] = _iso(market.start)
    return fields


def _token_id_fields(v1: Sequence[str], v2: Sequence[str]) -> dict[str, object]:
    """Return the token id fields: that of V1 always and as text, that of V2 where there are such ids."""
    fields: dict[str, object] = {"clobTokenIds": _json_text(v1)}
    return fields | ({"positionIds": list(v2)} if v2 else {})


def _state_fields(model: MarketModel) -> dict[str, object]:
    state, resolved = model.state, model.winner is not None
    fields: dict[str, object] = {
        "outcomePrices": _json_text(_prices(model)),
        "volume": "1000.5",
        "closed": resolved,
        "orderPriceMinTickSize": state.tick / DOLLAR,
        "acceptingOrders": not model.closed_at,
        "lastTradePrice": state.last_trade / DOLLAR,
        "bestBid": state.book.best_bid(0) / DOLLAR,
        "bestAsk": state.book.best_ask(0) / DOLLAR,
    }
    if resolved:
        fields["closedTime"] = _iso(model.closed_at // 1000).replace("T", " ").replace("Z", "+00")
        fields["umaResolutionStatus"] = "resolved"
    return fields


def _event_head(market: Market, *, closed: bool) -> dict[str, object]:
    head: dict[str, object] = {
        "id": market.event_id,
        "ticker": market.event_slug,
        "slug": market.event_slug,
        "title": market.event_title,
        "description": market.description,
        "startDate": "2026-01-01T00:00:00Z",
        "endDate": _iso(market.end) if market.end else _DEFAULT_END,
        "active": True,
        "closed": closed,
        "archived": False,
        "restricted": True,
        "enableOrderBook": True,
        "negRisk": market.neg_risk,
        "negRiskAugmented": market.augmented,
        "commentCount": 0,
    }
    if market.series:
        recurrence = market.series.rsplit("-", 1)[-1]
        head["series"] = [{"id": "1", "ticker": market.series, "slug": market.series, "recurrence": recurrence}]
        head["seriesSlug"] = market.series
    return head


def _tags(market: Market) -> list[dict[str, str]]:
    return [
        {"id": str(number), "label": tag, "slug": tag.lower().replace(" ", "-")}
        for number, tag in enumerate(market.tags, 1)
    ]


def _prices(model: MarketModel) -> tuple[str, str]:
    if model.winner is not None:
        return ("1", "0") if model.winner == 0 else ("0", "1")
    thousandths = max(1, min(999, round(model.probability * 1000)))
    return f"{thousandths / 1000}", f"{(1000 - thousandths) / 1000}"


def _contains(market: Market, words: list[str]) -> bool:
    text = f"{market.question} {market.event_title} {market.slug}".lower()
    return bool(words) and all(word in text for word in words)


def _json_text(texts: Iterable[str]) -> str:
    return msgspec.json.encode(list(texts)).decode().replace('","', '", "')


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _integer(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


async def _serve_requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Handler) -> None:
    while True:
        async with asyncio.timeout(_TIMEOUT):
            request = await _read_request(reader)
        response = await respond(request)
        async with asyncio.timeout(_TIMEOUT):
            writer.write(_response_head(response) + (b"" if request.method == "HEAD" else response.body))
            await writer.drain()
        if request.headers.get("connection", "").lower() == "close":
            return


async def _read_request(reader: asyncio.StreamReader) -> HttpRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = request_line.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "0"))
    if not 0 <= size <= _MAX_BODY:
        raise ValueError(f"invalid Content-Length {size}; expected 0 to {_MAX_BODY}")
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    return HttpRequest(method, unquote(url.path), query, headers, await reader.readexactly(size))


def _response_head(response: HttpResponse) -> bytes:
    usual = {"Content-Type": "application/json", "Content-Length": str(len(response.body))}
    lines = [f"HTTP/1.1 {response.status} {reason_phrase(response.status)}"]
    lines += [f"{name}: {value}" for name, value in (usual | response.headers).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
