"""The simulated user: credentials, orders and trades, and the channel that reports them."""

import asyncio
import time
import uuid
from random import Random
from typing import Literal, TypeAlias

import msgspec

from pmlive.sim._connections import Hub, Outlet
from pmlive.sim._exchange import Exchange
from pmlive.sim._markets import ONE, SHARE, Market
from pmlive.sim._order_book import price_text, size_text

__all__ = ["CREDENTIALS", "WALLET", "Credentials", "OrderStory", "UserChannel", "order_story"]

OrderStory: TypeAlias = Literal["filled", "partly", "cancelled", "killed"]
WALLET = "0x00000000000000000000000000000000000051a0"
_KILLED = "CANCELED_order couldn't be fully filled. FOK orders are fully filled or killed."
_STORIES: tuple[OrderStory, ...] = ("filled", "partly", "cancelled", "killed")


class Credentials(msgspec.Struct, frozen=True):
    """API credentials of the simulated venue; they open nothing else."""

    api_key: str
    secret: str
    passphrase: str

    def environment(self) -> dict[str, str]:
        """Give the variables that hand them to a client."""
        return {
            "POLYMARKET_API_KEY": self.api_key,
            "POLYMARKET_SECRET": self.secret,
            "POLYMARKET_PASSPHRASE": self.passphrase,
        }

    def match(self, auth: dict[str, str] | None) -> bool:
        """Tell whether a client's first frame presents them."""
        return auth is not None and auth == {
            "apiKey": self.api_key,
            "secret": self.secret,
            "passphrase": self.passphrase,
        }

    def answer(self) -> dict[str, str]:
        """Give them as REST does."""
        return {"apiKey": self.api_key, "secret": self.secret, "passphrase": self.passphrase}


# The secret is base64 of "simulated secret, opens nothing".
CREDENTIALS = Credentials(
    api_key="00000000-0000-4000-8000-0000000051a0",
    secret="c2ltdWxhdGVkIHNlY3JldCwgb3BlbnMgbm90aGluZw==",  # noqa: S106  # of the simulation
    passphrase="simulated-passphrase",  # noqa: S106  # of the simulation
)
_OWNER = CREDENTIALS.api_key


class _Request(msgspec.Struct):
    type: str = ""
    operation: str = ""
    auth: dict[str, str] | None = None
    markets: list[str] | None = None


_DECODER = msgspec.json.Decoder(_Request)


class UserChannel:
    """Answers the clients of ``/ws/user``, and tells them a story each so many seconds."""

    def __init__(self, exchange: Exchange, hub: Hub, *, seed: int) -> None:
        self._exchange = exchange
        self._hub = hub
        self._rng = Random(f"{seed}/orders")
        # The condition ids each client named; None stands for all.
        self._wishes: dict[int, set[str] | None] = {}
        # Clients that are answered nothing at all.
        self._denied: set[int] = set()

    async def serve(self, outlet: Outlet) -> None:
        """Listen to one client until it leaves."""
        try:
            async for text in outlet.socket:
                outlet.heard = time.monotonic()
                if outlet.id in self._denied:
                    continue
                if outlet.id not in self._wishes:
                    self._first(outlet, str(text))
                elif text == "PING":
                    outlet.word("PONG")
                else:
                    self._later(outlet, str(text))
        finally:
            self._wishes.pop(outlet.id, None)
            self._denied.discard(outlet.id)

    async def tell(self, every: float) -> None:
        """Tell stories for as long as the venue runs."""
        while True:
            await asyncio.sleep(every)
            markets = list(self._exchange)
            if self._wishes and markets:
                self.story(self._rng.choice(markets), self._rng.choice(_STORIES))

    def story(self, market: Market, story: OrderStory) -> None:
        """Start one story: its messages come over the next second or so."""
        loop = asyncio.get_running_loop()
        for seconds, text in order_story(self._rng, market, story, now=self._exchange.clock()):
            loop.call_later(seconds, self._say, market.condition_id, text)

    def _say(self, condition_id: str, text: str) -> None:
        for outlet in self._hub.of("user"):
            wish = self._wishes.get(outlet.id, set())
            if wish is None or condition_id in wish:
                outlet.data(text)

    def _first(self, outlet: Outlet, text: str) -> None:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            outlet.close(1008, "invalid subscription payload")
            return
        if request.type.lower() != "user":
            outlet.close(1008, "invalid subscription payload")
        elif denial := self._hub.faults.strike("deny", "user"):
            self._deny(outlet, denial.detail)
        elif not CREDENTIALS.match(request.auth):
            # The real venue gives no reason, not even a close frame.
            outlet.abort()
        else:
            self._wishes[outlet.id] = set(request.markets) if request.markets else None

    def _deny(self, outlet: Outlet, detail: str) -> None:
        """Refuse good credentials, by a close frame, in words, by silence, or by cutting the connection."""
        if detail == "close":
            outlet.close(1008, "invalid api key")
        elif detail in ("words", "silence"):
            self._denied.add(outlet.id)
            if detail == "words":
                outlet.word('{"error":"invalid api key"}')
        else:
            outlet.abort()

    def _later(self, outlet: Outlet, text: str) -> None:
        try:
            request = _DECODER.decode(text)
        except msgspec.DecodeError:
            outlet.word("INVALID MESSAGE")
            return
        wish, named = self._wishes[outlet.id], request.markets or []
        if wish is not None and request.operation == "subscribe":
            wish.update(named)
        elif wish is not None and request.operation == "unsubscribe":
            wish.difference_update(named)


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    market: Market
    outcome: int
    id: str
    side: str
    price: int
    size: int
    kind: str
    created: int


def order_story(rng: Random, market: Market, story: OrderStory, *, now: int) -> list[tuple[float, str]]:
    """Tell an order's life: after how many seconds each message comes, and its text."""
    order = _order(rng, market, story, now)
    if story == "killed":
        return [(0.0, _told(order, "CANCELLATION", _KILLED, now, matched=None))]
    first = (0.0, _told(order, "PLACEMENT", "LIVE", now, matched=0))
    if story == "cancelled":
        return [first, (0.4, _told(order, "CANCELLATION", "CANCELED", now + 400, matched=0))]
    matched = order.size if story == "filled" else order.size // 2 // SHARE * SHARE or order.size
    trade, maker = str(uuid.UUID(int=rng.getrandbits(128), version=4)), f"0x{rng.getrandbits(256):064x}"
    status = "MATCHED" if matched == order.size else "LIVE"
    told = [
        first,
        (0.3, _told(order, "UPDATE", status, now + 300, matched=matched, trades=[trade])),
        (0.3, _trade(order, trade, maker, status="MATCHED", size=matched, now=now + 300)),
        (0.6, _trade(order, trade, maker, status="MINED", size=matched, now=now + 600)),
        (0.9, _trade(order, trade, maker, status="CONFIRMED", size=matched, now=now + 900)),
    ]
    if matched < order.size:
        told.append((1.2, _told(order, "CANCELLATION", "CANCELED", now + 1200, matched=matched, trades=[trade])))
    return told


def _order(rng: Random, market: Market, story: OrderStory, now: int) -> _Order:
    return _Order(
        market=market,
        outcome=rng.randrange(2),
        id=f"0x{rng.getrandbits(256):064x}",
        side=rng.choice(("BUY", "SELL")),
        price=rng.randrange(10, 90) * 100,
        size=rng.randrange(10, 200) * SHARE,
        kind="FOK" if story == "killed" else "GTC",
        created=now,
    )


def _told(
    order: _Order, kind: str, status: str, now: int, *, matched: int | None, trades: list[str] | None = None
) -> str:
    # A killed order comes with empty texts where others have values.
    known = matched is not None
    return _text(
        {
            "id": order.id,
            "owner": _OWNER,
            "market": order.market.condition_id,
            "asset_id": order.market.token_ids[order.outcome],
            "side": order.side,
            "order_owner": _OWNER,
            "original_size": size_text(order.size),
            "size_matched": size_text(matched) if matched is not None else "",
            "price": price_text(order.price),
            "associate_trades": trades,
            "outcome": order.market.outcomes[order.outcome] if known else "",
            "type": kind,
            "created_at": str(order.created // 1000) if known else "",
            "expiration": "0",
            "order_type": order.kind,
            "status": status,
            "maker_address": WALLET,
            "timestamp": str(now),
            "event_type": "order",
        }
    )


def _trade(order: _Order, trade: str, maker: str, *, status: str, size: int, now: int) -> str:
    return _text(
        {
            "type": "TRADE",
            "id": trade,
            "taker_order_id": order.id,
            "market": order.market.condition_id,
            "asset_id": order.market.token_ids[order.outcome],
            "side": order.side,
            "size": size_text(size),
            "fee_rate_bps": "0",
            "price": price_text(order.price),
            "status": status,
            "match_time": str((order.created + 300) // 1000),
            "last_update": str(now // 1000),
            "outcome": order.market.outcomes[order.outcome],
            "owner": _OWNER,
            "trade_owner": _OWNER,
            "maker_address": WALLET,
            "transaction_hash": "" if status == "MATCHED" else f"0x{int(maker, 16) ^ 0x51A0:064x}",
            "bucket_index": 0,
            "maker_orders": [_maker(order, maker, size)],
            "trader_side": "TAKER",
            "timestamp": str(now),
            "event_type": "trade",
        }
    )


def _maker(order: _Order, maker: str, size: int) -> dict[str, object]:
    """Describe the resting order: the same side of the other outcome at the complement, as when shares are minted."""
    other = 1 - order.outcome
    return {
        "order_id": maker,
        "owner": "00000000-0000-4000-8000-00000000aaaa",
        "maker_address": "0x000000000000000000000000000000000000aaaa",
        "matched_amount": size_text(size),
        "price": price_text(ONE - order.price),
        "fee_rate_bps": "0",
        "asset_id": order.market.token_ids[other],
        "outcome": order.market.outcomes[other],
        "outcome_index": other,
        "side": order.side,
    }


def _text(fields: dict[str, object]) -> str:
    return msgspec.json.encode(fields).decode()
