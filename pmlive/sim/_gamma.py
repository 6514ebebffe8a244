"""The Gamma REST calls: what the markets are called, in the venue's own field forms."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from pmlive.sim._catalogue import Market
from pmlive.sim._exchange import Exchange
from pmlive.sim._faults import Faults
from pmlive.sim._frames import fee_schedule
from pmlive.sim._http import Answer, Request, json_answer
from pmlive.sim._model import Model
from pmlive.sim._text import ONE

__all__ = ["Gamma"]

# Markets without an end of their own say this one.
_FAR = "2028-01-01T00:00:00Z"
_PAGE = 100
# How tokens are asked for: those of the older version, and of the newer one.
_TOKEN_PARAMETERS = ("clob_token_ids", "position_ids")


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


def _not_found() -> Answer:
    return json_answer({"type": "not found error", "error": "not found"}, status=404)
