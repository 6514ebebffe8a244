"""The CLOB's REST calls, answered from the simulated books."""

from collections.abc import Callable

import msgspec

from pmlive.sim._catalogue import Market
from pmlive.sim._credentials import CREDENTIALS
from pmlive.sim._exchange import Exchange
from pmlive.sim._http import Answer, Request, json_answer
from pmlive.sim._script import Script
from pmlive.sim._text import ONE, price_text, trade_price_text

__all__ = ["Clob"]

_NO_BOOK = "No orderbook exists for the requested token id"
_MOST_BOOKS = 500


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


def _credentials(_: Request) -> Answer:
    return json_answer(CREDENTIALS.answer())


def _refused(error: str, *, status: int = 404) -> Answer:
    return json_answer({"error": error}, status=status)
