"""The venue's message shapes: our events and requests under its names, and what is wrong with a message."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, TypeAlias, cast

import msgspec

from pmlive import events
from pmlive.events import Channel

__all__ = [
    "BOOK",
    "BY_KIND",
    "CHANGE",
    "MARKET",
    "Book",
    "Json",
    "MarketMessage",
    "authenticate",
    "complaint",
    "complaint_in",
    "complaint_in_words",
    "has_own_keys",
    "is_subscription",
    "ping",
    "readable",
    "refuses_credentials",
    "subscribe_market",
    "subscribe_prices",
    "subscribe_realtime",
    "subscribe_user",
    "unsubscribe_market",
    "unsubscribe_prices",
    "unsubscribe_realtime",
    "unsubscribe_user",
    "without_secrets",
]

# Any JSON value, decoded.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_ASSET = msgspec.field(name="asset_id")
_KIND = "event_type"
_OWN_KEYS = frozenset(
    {"asset_id", "market", "bids", "asks", "price_changes", "changes", "event_type", "assets_ids", "winning_asset_id"}
)
_ASKED_FOR = frozenset({"assets_ids", "asset_ids"})
_SUBSCRIPTION = _ASKED_FOR | {
    *("type", "operation", "custom_feature_enabled", "initial_dump", "level", "markets", "auth", "action"),
}


class LevelChange(events.LevelChange, frozen=True):
    """One entry of ``price_changes``."""

    token_id: str = _ASSET


class Book(events.BookSnapshot, frozen=True, kw_only=True, tag_field=_KIND, tag="book"):
    """A whole book; on the socket and, without its kind, from REST."""

    token_id: str = _ASSET
    bids_json: msgspec.Raw = msgspec.field(name="bids")
    asks_json: msgspec.Raw = msgspec.field(name="asks")


class PriceChange(events.PriceChange, frozen=True, tag_field=_KIND, tag="price_change"):
    """The schema of 2025-09-15 on; older ones are reshaped to it."""

    changes: list[LevelChange] = msgspec.field(name="price_changes")  # pyright: ignore[reportIncompatibleVariableOverride]  # narrower


class Trade(events.Trade, frozen=True, tag_field=_KIND, tag="last_trade_price"):
    """A settled match."""

    token_id: str = _ASSET


class BestBidAsk(events.BestBidAsk, frozen=True, tag_field=_KIND, tag="best_bid_ask"):
    """The stated top of a book."""

    token_id: str = _ASSET


class TickSizeChange(events.TickSizeChange, frozen=True, tag_field=_KIND, tag="tick_size_change"):
    """A new price grid."""

    token_id: str = _ASSET


class NewMarket(events.NewMarket, frozen=True, tag_field=_KIND, tag="new_market"):
    """A market created anywhere."""

    token_ids: list[str] = msgspec.field(name="assets_ids")
    tick_size: str | None = msgspec.field(name="order_price_min_tick_size", default=None)


class MarketResolved(events.MarketResolved, frozen=True, tag_field=_KIND, tag="market_resolved"):
    """The outcome that won."""

    token_ids: list[str] = msgspec.field(name="assets_ids")
    winning_token_id: str = msgspec.field(name="winning_asset_id")


class UserOrder(events.UserOrder, frozen=True, tag_field=_KIND, tag="order"):
    """An order of the user's."""

    token_id: str = _ASSET


class MakerOrder(events.MakerOrder, frozen=True):
    """A matched resting order."""

    token_id: str = msgspec.field(name="asset_id", default="")


class UserTrade(events.UserTrade, frozen=True, tag_field=_KIND, tag="trade"):
    """A trade of the user's."""

    token_id: str = _ASSET
    maker_orders: list[MakerOrder] = msgspec.field(  # pyright: ignore[reportIncompatibleVariableOverride]  # narrower
        default_factory=list[MakerOrder]
    )


class Activity(events.Activity, frozen=True):
    """The payload of the activity topic, with the envelope's type."""

    token_id: str = msgspec.field(name="asset")
    market: str = msgspec.field(name="conditionId")
    event_slug: str = msgspec.field(name="eventSlug", default="")
    outcome_index: int | None = msgspec.field(name="outcomeIndex", default=None)
    proxy_wallet: str = msgspec.field(name="proxyWallet", default="")
    profile_image: str = msgspec.field(name="profileImage", default="")
    transaction_hash: str = msgspec.field(name="transactionHash", default="")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the real-time data socket."""

    topic: str
    type: str
    timestamp: int
    payload: dict[str, object]


class StreamEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the price streams: data with ``channel`` and ``seq``, or a word with ``op``."""

    op: str = ""
    channel: str = ""
    code: str = ""
    rid: object = ""
    provider: str | None = None
    seq: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] | None = None
    snapshot: bool | None = None
    dropped: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] | None = None
    payload: object = None


MarketMessage: TypeAlias = PriceChange | Trade | Book | BestBidAsk | TickSizeChange | NewMarket | MarketResolved
UserMessage: TypeAlias = UserOrder | UserTrade

CHANGE: msgspec.json.Decoder[PriceChange] = msgspec.json.Decoder(PriceChange, strict=False)
BOOK: msgspec.json.Decoder[Book] = msgspec.json.Decoder(Book, strict=False)
MARKET: msgspec.json.Decoder[MarketMessage | list[MarketMessage]] = msgspec.json.Decoder(
    MarketMessage | list[MarketMessage], strict=False
)
BY_KIND: dict[str, type[MarketMessage | UserMessage]] = {
    "price_change": PriceChange,
    "last_trade_price": Trade,
    "book": Book,
    "best_bid_ask": BestBidAsk,
    "tick_size_change": TickSizeChange,
    "new_market": NewMarket,
    "market_resolved": MarketResolved,
    "order": UserOrder,
    "trade": UserTrade,
}


def has_own_keys(keys: Iterable[str]) -> bool:
    """Return whether an object has a key that messages of the venue have.

    >>> has_own_keys({"asset_id": "1"}), has_own_keys({"reason": "timeout"})
    (True, False)
    """
    return not _OWN_KEYS.isdisjoint(keys)


def is_subscription(keys: Iterable[str]) -> bool:
    """Return whether an object is what a client sends to subscribe.

    >>> is_subscription({"assets_ids": [], "type": "market"}), is_subscription({"assets_ids": [], "question": "?"})
    (True, False)
    """
    return not _ASKED_FOR.isdisjoint(keys) and _SUBSCRIPTION.issuperset(keys)


# --- complaints ---
# The venue's words that something is wrong, none of which it documents.

# A longer message is no complaint, or none that anybody reads.
_LONGEST = 4096
_KEPT = 200
_DEPTH = 3
_FAILURE = re.compile(
    r"error|fail|invalid|denied|forbidden|unauthori[sz]ed|unauthenticated|not authori[sz]ed|rejected|refused"
    r"|bad request|not allowed|expired|missing|unknown|too many|limit|unavailable|malformed|unsupported",
    re.IGNORECASE,
)
_SUCCESS = re.compile(
    r"\b(ok|okay|success\w*|subscribed|unsubscribed|authenticated|authorized|authed|connected|welcome|hello|pong|ping"
    r"|ready|accepted)\b",
    re.IGNORECASE,
)
# The venue cannot say now whether credentials are good.
_LATER = re.compile(
    r"unavailable|internal|try again|retry|rate|too many|busy|overload|time.?out|timed out|maintenance|restart|draining"
    r"|going away|temporar",
    re.IGNORECASE,
)
_KINDS = ("type", "event", "event_type", "status", "op", "kind", "level", "result", "action")
_FLAGS = ("error", "errors", "err", "error_message", "errorMessage", "errorMsg", "error_msg")
_TEXTS = ("message", "msg", "reason", "detail", "details", "description", "code", "error_code", "status_code")
_NUMBERS = ("code", "status", "statusCode", "status_code", "error_code")
# What names a book or an order is data, unless it says outright that it is an error: by a key, or as its own kind.
_OUTRIGHT = ("type", "event", "event_type", "op", "kind")
_OF_DATA = frozenset({"asset_id", "assets_ids", "market", "price", "topic", "payload"})
_SENTENCE = re.compile(r"""[A-Za-z][^\x00-\x1f{}\[\]<>"\\]{1,399}""")
_FIRST_FAILURE = 400
_HTTP_LIKE = range(_FIRST_FAILURE, 600)
# Shorter words are too common to be taken for a part of a credential.
_SHORTEST_SECRET = 4
_WORD = re.compile(rf"[^\s'\",;:()]{{{_SHORTEST_SECRET},}}")
_KEY = re.compile(r"(?=\S*\d)[A-Za-z0-9+/_=-]{20,}")


def complaint(data: str | bytes) -> str | None:
    """Return the words of a frame, JSON or plain text, that says that something is wrong; None for any other.

    >>> complaint('{"message": "Invalid request body"}'), complaint("INVALID OPERATION"), complaint("PONG")
    ('Invalid request body', 'INVALID OPERATION', None)
    """
    if len(data) > _LONGEST:
        return None
    text = (data if isinstance(data, str) else data.decode("utf-8", "replace")).strip()
    try:
        value: Json = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return complaint_in_words(text)
    if isinstance(value, str):
        return complaint_in_words(value)
    found = (complaint_in(each) for each in _objects(value))
    return next((words for words in found if words is not None), None)


def complaint_in(message: Mapping[str, object]) -> str | None:
    """Return the words of a message that says that something is wrong; None for any other."""
    named = any(message.get(key) for key in _FLAGS)
    named = named or any(str(message.get(key)).lower() == "error" for key in _OUTRIGHT)
    if _OF_DATA & message.keys() and not named:
        return None
    if named or _is_flagged(message):
        return readable(_words(message)) or "an error without words"
    spoken = "" if message.get("event_type") else readable(_spoken(message))
    if not spoken or (_SUCCESS.search(spoken) and not _FAILURE.search(spoken)):
        return None
    return readable(_words(message))


def complaint_in_words(text: str) -> str | None:
    """Return plain text that says that something is wrong; None for any other."""
    spoken = readable([text]) if _SENTENCE.fullmatch(text) else ""
    return spoken if spoken and _FAILURE.search(spoken) else None


def without_secrets(words: str, secrets: Iterable[str]) -> str:
    """Mask every word that may be a part of a secret, or hold one, and whatever looks like a key.

    >>> without_secrets("no key hunter2-tail; try again", ["my-hunter2-tail"])
    'no key ***; try again'
    """
    long = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    return _KEY.sub("***", _WORD.sub(lambda found: _unless_secret(found[0], long), words))


def _unless_secret(word: str, secrets: Iterable[str]) -> str:
    return "***" if any(word in secret or secret in word for secret in secrets) else word


def refuses_credentials(channel: Channel, words: str) -> bool:
    """Return whether a complaint, made before any data came, says that the credentials are not taken.

    The user channel has no other reason to complain; the price streams name theirs.
    """
    if _LATER.search(words):
        return False
    return channel == "user" or (channel == "prices" and "auth" in words.lower())


def readable(texts: Iterable[str]) -> str:
    """Join texts in one line, shortened and without what cannot be shown."""
    said = "; ".join(dict.fromkeys(filter(None, (_plain(text) for text in texts))))
    return said if len(said) <= _KEPT else f"{said[: _KEPT - 1]}…"


def _plain(text: str) -> str:
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _objects(value: Json) -> Iterator[dict[str, Json]]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield each


def _is_flagged(message: Mapping[str, object]) -> bool:
    kinds = [kind for key in _KINDS if isinstance(kind := message.get(key), str)]
    if any(_FAILURE.search(kind) for kind in kinds):
        return True
    numbers = [number for key in _NUMBERS if isinstance(number := message.get(key), int)]
    return any(number in _HTTP_LIKE for number in numbers) or False in (message.get("success"), message.get("ok"))


def _words(message: Mapping[str, object]) -> Iterator[str]:
    for key in (*_FLAGS, *_TEXTS, "data", "payload", "body"):
        yield from _leaves(message.get(key), key, _DEPTH)
    if not any(message.get(key) for key in (*_FLAGS, *_TEXTS)):
        yield from (kind for key in _KINDS if isinstance(kind := message.get(key), str))


def _spoken(message: Mapping[str, object]) -> Iterator[str]:
    return (text for key in _TEXTS if isinstance(text := message.get(key), str))


def _leaves(value: object, key: str, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool) and key in (*_NUMBERS, *_FLAGS):
        yield f"code {value}"
    elif isinstance(value, list) and depth:
        for each in cast("list[object]", value)[:5]:
            yield from _leaves(each, key, depth - 1)
    elif isinstance(value, dict) and depth:
        fields = cast("dict[str, object]", value)
        for name in (*_FLAGS, *_TEXTS):
            yield from _leaves(fields.get(name), name, depth - 1)


# --- what we send ---
# The frames that are sent to the venue.

# The only window of which the price streams have averages.
_TWAP_SECONDS = 60


def ping(channel: Channel) -> str:
    """Write the heartbeat that the channel's server expects, or answers to."""
    return '{"op":"ping","rid":"ping"}' if channel == "prices" else "PING"


def subscribe_market(token_ids: Sequence[str], *, first: bool) -> str:
    """Ask for books, changes and trades of tokens; only the first frame of a connection has a type."""
    if first:
        return _text(
            {
                "type": "market",
                "assets_ids": token_ids,
                "custom_feature_enabled": True,
                "initial_dump": True,
                "level": 2,
            }
        )
    return _text({"operation": "subscribe", "assets_ids": token_ids, "custom_feature_enabled": True})


def unsubscribe_market(token_ids: Sequence[str]) -> str:
    """Stop the messages of tokens."""
    return _text({"operation": "unsubscribe", "assets_ids": token_ids})


def subscribe_user(market_ids: Sequence[str] | None, credentials: dict[str, str] | None) -> str:
    """Ask for the user's own orders and trades, in all markets when none are named.

    ``credentials`` (``api_key``, ``secret``, ``passphrase``) go with the first frame of a connection and with no other.
    """
    if credentials is None:
        return _text({"operation": "subscribe", "markets": market_ids or []})
    frame: dict[str, object] = {"type": "user", "auth": _auth(credentials)}
    if market_ids is not None:
        frame["markets"] = market_ids
    return _text(frame)


def unsubscribe_user(market_ids: Sequence[str]) -> str:
    """Stop the user's messages of markets."""
    return _text({"operation": "unsubscribe", "markets": market_ids})


def subscribe_realtime(topic: str, key: str) -> str:
    """Ask for one topic of the real-time data socket; ``key`` is an event slug or a symbol."""
    return _realtime("subscribe", topic, key)


def unsubscribe_realtime(topic: str, key: str) -> str:
    """Stop one topic of the real-time data socket."""
    return _realtime("unsubscribe", topic, key)


def _realtime(action: str, topic: str, key: str) -> str:
    # The server compares the filter's text, so it has no spaces; the Binance topic takes a bare list of symbols.
    if topic == "activity":
        filters = _text({"event_slug": key})
    elif topic == "crypto_prices":
        filters = key
    else:
        filters = _text({"symbol": key})
    kind = "update" if topic == "crypto_prices" else "*"
    return _text({"action": action, "subscriptions": [{"topic": topic, "type": kind, "filters": filters}]})


def authenticate(credentials: dict[str, str]) -> str:
    """Present API credentials to the price streams."""
    return _text({"op": "auth", "rid": "auth", "auth": _auth(credentials)})


def subscribe_prices(channel: str, symbol: str, provider: str = "") -> str:
    """Ask for one symbol of the price streams, of a provider if one is named."""
    return _prices("subscribe", channel, symbol, provider)


def unsubscribe_prices(channel: str, symbol: str, provider: str = "") -> str:
    """Stop one symbol of the price streams."""
    return _prices("unsubscribe", channel, symbol, provider)


def _prices(op: str, channel: str, symbol: str, provider: str) -> str:
    # One symbol a frame, since an answer names its frame and not its symbol.
    wanted: dict[str, object] = {"symbol": symbol}
    if channel.endswith(".twap"):
        wanted["window_seconds"] = _TWAP_SECONDS
    if provider:
        wanted["provider"] = provider
    rid = ":".join(part for part in (channel, symbol, provider) if part)
    return _text({"op": op, "rid": rid, "subscriptions": [{"channel": channel, "filter": wanted}]})


def _auth(credentials: dict[str, str]) -> dict[str, str]:
    return {
        "apiKey": credentials["api_key"],
        "secret": credentials["secret"],
        "passphrase": credentials["passphrase"],
    }


def _text(frame: dict[str, object]) -> str:
    return msgspec.json.encode(frame).decode()
