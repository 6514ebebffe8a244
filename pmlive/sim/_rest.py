"""The REST calls of the CLOB and of Gamma, answered from the simulated markets."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from pmlive.sim._exchange import Exchange, Model
from pmlive.sim._faults import Faults
from pmlive.sim._http import Answer, Request, json_answer
from pmlive.sim._markets import ONE, Market
from pmlive.sim._offline import Script
from pmlive.sim._order_book import fee_schedule, price_text, trade_price_text
from pmlive.sim._user_channel import CREDENTIALS

__all__ = ["Clob", "Gamma"]

_NO_BOOK = "No orderbook exists for the requested token id"
_MOST_BOOKS = 500
# Markets without an end of their own say this one.
_FAR = "2028-01-01T00:00:00Z"
_PAGE = 100
# How tokens are asked for: those of the older version, and of the newer one.
_TOKEN_PARAMETERS = ("clob_token_ids", "position_ids")


class _Wanted(msgspec.Struct):
    token_id: str


class Clob:
    """Answers what the CLOB's REST address is asked."""

    def __init__(self, exchange: Exchange, *, script: Script | None = None) -> None:
        self._exchange = exchange
        self._script = script
        self._calls: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/"): lambda _: json_answer("OK"),
            ("GET", "/ok"): lambda _: json_answer("OK"),
            ("GET", "/time"): lambda _: json_answer(exchange.clock() // 1000),
            ("GET", "/book"): self._book,
            ("POST", "/books"): self._books,
            ("GET", "/tick-size"): self._tick_size,
            ("GET", "/neg-risk"): self._neg_risk,
            ("GET", "/fee-rate"): lambda _: json_answer({"base_fee": 0}),
            ("GET", "/midpoint"): self._midpoint,
            ("GET", "/last-trade-price"): self._last_trade_price,
            ("POST", "/auth/api-key"): _credentials,
            ("GET", "/auth/derive-api-key"): _credentials,
        }

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        call = self._calls.get((request.method, request.path.rstrip("/") or "/"))
        if call is not None:
            return call(request)
        kind, _, key = request.path.strip("/").partition("/")
        if request.method == "GET" and kind in ("markets", "clob-markets"):
            return self._market(self._exchange.of_condition(key))
        if request.method == "GET" and kind == "markets-by-token":
            return self._by_token(key)
        return _refused("Not found")

    def _book(self, request: Request) -> Answer:
        book = self._text(request.one("token_id"))
        return _refused(_NO_BOOK) if book is None else Answer(200, book.encode())

    def _books(self, request: Request) -> Answer:
        try:
            wanted = msgspec.json.decode(request.body, type=list[_Wanted])
        except msgspec.DecodeError:
            return _refused("Invalid payload", status=400)
        if len(wanted) > _MOST_BOOKS:
            return _refused("Payload exceeds the limit", status=400)
        books = [book for item in wanted if (book := self._text(item.token_id)) is not None]
        return Answer(200, f"[{','.join(books)}]".encode())

    def _text(self, token: str) -> str | None:
        if self._script is not None:
            return self._script.rest.get(token)
        market = self._exchange.of_token(token)
        if market is None or self._exchange.settled(token):
            return None
        return self._exchange.model(market).state.rest_book(market.token_ids.index(token))

    def _tick_size(self, request: Request) -> Answer:
        market = self._exchange.of_token(request.one("token_id"))
        if market is None:
            return _refused("market not found")
        return json_answer({"minimum_tick_size": self._exchange.model(market).state.tick / ONE})

    def _neg_risk(self, request: Request) -> Answer:
        market = self._exchange.of_token(request.one("token_id"))
        return _refused("market not found") if market is None else json_answer({"neg_risk": market.neg_risk})

    def _midpoint(self, request: Request) -> Answer:
        token = request.one("token_id")
        market = self._exchange.of_token(token)
        if market is None or self._exchange.settled(token):
            return _refused(_NO_BOOK)
        book, outcome = self._exchange.model(market).state.book, market.token_ids.index(token)
        twice = book.best_bid(outcome) + book.best_ask(outcome)
        return json_answer({"mid": price_text(twice // 2) + ("5" if twice % 2 else "")})

    def _last_trade_price(self, request: Request) -> Answer:
        market = self._exchange.of_token(request.one("token_id"))
        if market is None:
            return _refused("market not found")
        price = self._exchange.model(market).state.last_trade
        return json_answer({"price": trade_price_text(price), "side": "BUY"})

    def _by_token(self, token: str) -> Answer:
        market = self._exchange.of_token(token)
        if market is None:
            return _refused("market not found")
        first, second = market.token_ids
        ids = {"condition_id": market.condition_id, "primary_token_id": first, "secondary_token_id": second}
        return json_answer(ids)

    def _market(self, market: Market | None) -> Answer:
        if market is None:
            return _refused("market not found")
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
        return json_answer(
            {
                "enable_order_book": model.winner is None,
                "active": True,
                "closed": model.winner is not None,
                "archived": False,
                "accepting_orders": not model.closed,
                "minimum_order_size": market.min_order_size,
                "minimum_tick_size": model.state.tick / ONE,
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


class Gamma:
    """Answers what the Gamma address is asked."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange = exchange
        self._faults = faults

    def answer(self, request: Request) -> Answer:  # noqa: PLR0911  # the table of routes
        """Answer one request."""
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["markets"]:
                return json_answer([self._market(market) for market in self._page(self._chosen(request), request)])
            case "GET", ["events"]:
                return json_answer(self._events(self._page(self._chosen(request), request), request))
            case "GET", ["markets", "slug", slug]:
                return self._market_of(self._exchange.market(slug))
            case "GET", ["events", "slug", slug]:
                return self._event_of(slug)
            case "GET", ["markets" | "events" as kind, "keyset"]:
                return self._keyset(request, kind)
            case "GET", ["markets", number]:
                return self._market_of(next((m for m in self._exchange if m.id == number), None))
            case "GET", ["public-search"]:
                return self._search(request)
            case _:
                return _not_found()

    def _chosen(self, request: Request) -> list[Market]:
        """Find the markets that the query names, or all; ended ones only where they are asked for."""
        closed = request.one("closed", "false") == "true"
        return [market for market in self._named(request) if self._ended(market) == closed]

    def _named(self, request: Request) -> Iterable[Market]:
        query = request.query
        if "slug" in query:
            events = request.path.startswith("/events")
            found = [
                market for slug in query["slug"] for market in (self._of_event(slug) if events else self._of(slug))
            ]
        elif "condition_ids" in query:
            found = [self._exchange.of_condition(condition) for condition in query["condition_ids"]]
        elif parameter := next((name for name in _TOKEN_PARAMETERS if name in query), None):
            wanted = set(query[parameter])
            found = [market for market in self._exchange if self._has(market, parameter, wanted)]
        else:
            return self._exchange
        return {market.condition_id: market for market in found if market is not None}.values()

    def _of(self, slug: str) -> list[Market]:
        market = self._exchange.market(slug)
        return [] if market is None else [market]

    def _of_event(self, slug: str) -> list[Market]:
        known = [market for market in self._exchange if market.event_slug == slug]
        return known or [market for market in self._of(slug) if market.event_slug == slug]

    def _page(self, markets: list[Market], request: Request) -> list[Market]:
        at, most = _whole(request.one("offset"), 0), min(_whole(request.one("limit"), _PAGE), _PAGE)
        return markets[at : at + most]

    def _keyset(self, request: Request, kind: str) -> Answer:
        cursor = request.one("after_cursor")
        try:
            at = int(urlsafe_b64decode(cursor)) if cursor else 0
        except ValueError:
            return json_answer({"error": "invalid cursor"}, status=400)
        most = max(1, min(_whole(request.one("limit"), _PAGE), _PAGE))
        chosen = self._chosen(request)
        page = chosen[at : at + most]
        listed = [self._market(m) for m in page] if kind == "markets" else self._events(page, request)
        more = at + most < len(chosen)
        return json_answer(
            {kind: listed, "next_cursor": urlsafe_b64encode(b"%d" % (at + most)).decode() if more else None}
        )

    def _search(self, request: Request) -> Answer:
        words = request.one("q").lower().split()
        found = [market for market in self._exchange if _holds(market, words)]
        events = self._events(self._page(found, request), request)
        return json_answer({"events": events, "pagination": {"hasMore": False, "totalResults": len(events)}})

    def _market_of(self, market: Market | None) -> Answer:
        return _not_found() if market is None else json_answer(self._market(market))

    def _event_of(self, slug: str) -> Answer:
        markets = self._of_event(slug)
        return json_answer(self._event(markets)) if markets else _not_found()

    def _events(self, markets: Iterable[Market], request: Request) -> list[dict[str, object]]:
        """Gather markets into their events, whole events even where one market was found."""
        slugs = dict.fromkeys(market.event_slug for market in markets)
        closed = request.one("closed")
        siblings = ((slug, self._of_event(slug)) for slug in slugs)
        return [self._event(found) for _, found in siblings if found and (closed != "true" or self._ended(found[0]))]

    def _ended(self, market: Market) -> bool:
        return self._exchange.ended(market)

    def _event(self, markets: list[Market]) -> dict[str, object]:
        closed = all(self._ended(market) for market in markets)
        listed = [self._market(market) for market in markets]
        return _event_head(markets[0], closed=closed) | {"markets": listed, "tags": _tags(markets[0])}

    def _market(self, market: Market) -> dict[str, object]:
        model = self._exchange.model(market)
        events = {"events": [_event_head(market, closed=self._ended(market))]}
        hidden = self._faults.strike("no_ids", "gamma", market.token_ids)
        ids = _stated((), ()) if hidden else _stated(*self._ids(market))
        return _described(market) | ids | _standing(model) | events

    def _ids(self, market: Market) -> tuple[Sequence[str], Sequence[str]]:
        """Give the token ids of the older version and of the newer one; a market has one kind and may state both."""
        own, other = market.token_ids, market.other_ids or ()
        return (own, other) if market.version == "v1" else (other, own)

    def _has(self, market: Market, parameter: str, wanted: set[str]) -> bool:
        """Tell whether a market is found by token ids; one that was made just now is not."""
        ids = self._ids(market)[_TOKEN_PARAMETERS.index(parameter)]
        return bool(wanted & set(ids)) and not self._faults.find("no_ids", "gamma", market.token_ids)


def _credentials(_: Request) -> Answer:
    return json_answer(CREDENTIALS.answer())


def _refused(error: str, *, status: int = 404) -> Answer:
    return json_answer({"error": error}, status=status)


def _not_found() -> Answer:
    return json_answer({"type": "not found error", "error": "not found"}, status=404)


def _described(market: Market) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": market.id,
        "question": market.question,
        "conditionId": market.condition_id,
        "slug": market.slug,
        "resolutionSource": "",
        "endDate": _iso(market.end) if market.end else _FAR,
        "startDate": "2026-01-01T00:00:00Z",
        "description": market.description,
        "outcomes": _twice(market.outcomes),
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


def _stated(older: Sequence[str], newer: Sequence[str]) -> dict[str, object]:
    """State token ids as the venue does: the older field always and as text, the newer one where there are any."""
    stated: dict[str, object] = {"clobTokenIds": _twice(older)}
    return stated | ({"positionIds": list(newer)} if newer else {})


def _standing(model: Model) -> dict[str, object]:
    state, ended = model.state, model.winner is not None
    fields: dict[str, object] = {
        "outcomePrices": _twice(_prices(model)),
        "volume": "1000.5",
        "closed": ended,
        "orderPriceMinTickSize": state.tick / ONE,
        "acceptingOrders": not model.closed,
        "lastTradePrice": state.last_trade / ONE,
        "bestBid": state.book.best_bid(0) / ONE,
        "bestAsk": state.book.best_ask(0) / ONE,
    }
    if ended:
        fields["closedTime"] = _iso(model.closed // 1000).replace("T", " ").replace("Z", "+00")
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
        "endDate": _iso(market.end) if market.end else _FAR,
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


def _prices(model: Model) -> tuple[str, str]:
    if model.winner is not None:
        return ("1", "0") if model.winner == 0 else ("0", "1")
    thousandths = max(1, min(999, round(model.probability * 1000)))
    return f"{thousandths / 1000}", f"{(1000 - thousandths) / 1000}"


def _holds(market: Market, words: list[str]) -> bool:
    text = f"{market.question} {market.event_title} {market.slug}".lower()
    return bool(words) and all(word in text for word in words)


def _twice(texts: Iterable[str]) -> str:
    return msgspec.json.encode(list(texts)).decode().replace('","', '", "')


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default
