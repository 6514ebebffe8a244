"""The reading of what the venue sends: from received bytes to events, of every channel; nothing that arrives raises."""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TypeAlias, cast

import msgspec

from pmlive._wire import messages
from pmlive._wire.messages import complaint_in, complaint_in_words
from pmlive.errors import ProtocolError
from pmlive.events import (
    BookSnapshot,
    Channel,
    Comment,
    Control,
    Event,
    Malformed,
    ReferencePrice,
    StreamNumber,
    StreamReply,
    Unknown,
)

__all__ = ["decode", "decode_book", "reader", "withhold_owner"]

# Most frames are price changes, which the venue writes with the market first: the first letter of the second key tells
# them, and they are given to a reader that need not look for the kind, which is written last. It refuses any other.
# (Looking at the end of a frame costs a fetch from memory of its own.)
_CHANGES = '"price_changes"'
_AT, _CHANGE_LETTER, _read_change = len(f'{{"market":"0x{"0" * 64}","'), ord(_CHANGES[1]), messages.CHANGE.decode
# The longest frames are books, told by the last letter but one of the kind.
_SHORT, _BOOK_LETTER, _read_book = 1_000, ord("o"), messages.BOOK.decode
_read_any = messages.MARKET.decode

# What reads one message, given its fields and the beginning of its text.
Reader: TypeAlias = Callable[[dict[str, object], str], list[Event]]

# How much of a message that could not be read is kept.
_KEPT = 1024
_WORD = re.compile(r"[A-Za-z][A-Za-z ]{0,39}", re.ASCII)
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
_REFUSED = (msgspec.MsgspecError, RecursionError, ValueError, TypeError, OverflowError)

# Elements are cut out before they are read, so that one with a number out of range does not spoil the others.
_ONE = msgspec.json.Decoder(msgspec.Raw)
_MANY = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS = msgspec.json.Decoder(dict[str, object])

# The decoder recurses as deep as the interpreter's limit lets it, and some libraries raise that beyond the C stack
# (py_ecc, beneath eth-account, to 100,000): some 25,000 levels would then end the process.
_SHALLOW = 16_384
_MOST_LEVELS = 10_000
_INNER_OBJECT = re.compile(rb":\s*\{")
_TOO_DEEP = "nested too deeply"

# Kinds by the keys that only they have, for messages that come without one (REST answers, old archives).
_KEYS_OF_KIND = {
    "book": {"bids", "asks"},
    "price_change": {"price_changes"},
    "order": {"original_size", "size_matched"},
    "trade": {"taker_order_id"},
    "tick_size_change": {"new_tick_size"},
    "market_resolved": {"winning_asset_id"},
    "last_trade_price": {"fee_rate_bps", "price", "size"},
}
_SPELLINGS = {
    "asset_ids": "assets_ids",
    "matchtime": "match_time",
}

# Values whose numbers stay numbers.
_AS_SENT = frozenset({"fee_schedule"})

# Keys of user messages that hold an API key, without underscores and in lower case.
_SECRET = frozenset({"owner", "orderowner", "tradeowner", "auth", "apikey", "secret", "passphrase"})

# What names a token or a market, and what an id looks like under a key that we do not know.
_NAMING_KEYS = frozenset(
    {"asset_id", "assets_ids", "market", "condition_id", "clob_token_ids", "token_id", "winning_asset_id"}
)
_LIKE_AN_ID = re.compile(r"0x[0-9a-fA-F]{62,64}|[0-9]{20,78}", re.ASCII)
_WITHHELD = b"(a message that is not JSON, withheld)"
_PRICE_TOPICS = ("crypto_prices", "equity_prices")


def reader(channel: Channel) -> Callable[[str | bytes], list[Event]]:
    """Return what reads the frames of a channel, as ``decode`` does."""
    return _market if channel == "market" else partial(_tolerant, channel)


def decode(channel: Channel, data: str | bytes) -> list[Event]:
    """Read one frame as received: the events in it, in its order."""
    return reader(channel)(data)


def decode_book(data: str | bytes) -> BookSnapshot:
    """Read the answer to a REST request for one book.

    Raises:
        ProtocolError: it is not a book.
    """
    match decode("market", data):
        case [BookSnapshot() as book]:
            return book
        case _:
            raise ProtocolError(f"the answer is not one book: {_head(data)[:80]!r}")


def withhold_owner(data: str | bytes) -> bytes:
    """Leave the user's API key out of a user message; what is neither JSON nor a word is left out as a whole."""
    if _is_deep(data):
        return _WITHHELD
    try:
        return msgspec.json.encode(_without_owner(msgspec.json.decode(data)))
    except _UNREADABLE:
        word = _word(data)
        return _WITHHELD if word is None else word.encode()


def _market(data: str | bytes) -> list[Event]:
    try:
        if data[_AT] == _CHANGE_LETTER and len(data) <= _SHALLOW:
            return [_read_change(data)]
        if len(data) > _SHALLOW and _is_deep(data):
            return _tolerant("market", data)
        message = _read_book(data) if len(data) > _SHORT and data[-4] == _BOOK_LETTER else _read_any(data)
    except (*_UNREADABLE, IndexError):
        return _tolerant("market", data)
    return message if isinstance(message, list) else [message]  # pyright: ignore[reportReturnType]  # list is invariant


def _tolerant(channel: Channel, data: str | bytes) -> list[Event]:
    if channel == "user":
        data = withhold_owner(data)
    if _is_deep(data):
        return [Malformed(_head(data), _TOO_DEEP)]
    try:
        elements = _MANY.decode(data) if data.lstrip()[:1] in ("[", b"[") else [_ONE.decode(data)]
    except _UNREADABLE as error:
        word = _word(data)
        if word == "" and channel == "market":
            # On the real-time socket that is the answer to a ping; here it stands where something else should.
            return [Malformed(_head(data), "an empty message")]
        return [_text_event(data, word, f"not JSON: {error}")]
    return [event for element in elements for event in _element(channel, bytes(element))]


def _text_event(data: str | bytes, word: str | None, reason: str) -> Event:
    """Read text that is not JSON: a complaint in words, another word, or nothing that can be read."""
    complaint = complaint_in_words(_head(data).strip())
    if complaint is not None:
        return Control("error", complaint)
    return Malformed(_head(data), reason) if word is None else Control(word)


def _element(channel: Channel, text: bytes) -> list[Event]:
    raw = _head(text)
    message: dict[str, object] = {}
    try:
        message = {_SPELLINGS.get(key, key): value for key, value in _FIELDS.decode(text).items()}
        return _READERS[channel](message, raw)
    except _REFUSED as error:
        return [_malformed(raw, message, error)]


def _clob(message: dict[str, object], raw: str) -> list[Event]:
    kind = str(message.get("event_type") or _kind(message))
    if kind not in messages.BY_KIND:
        words, names = complaint_in(message), _names(message)
        return [Unknown(kind, raw, names) if words is None or names else Control("error", words)]
    message["event_type"] = kind
    if kind == "price_change":
        return _price_change(message, raw)
    if kind == "book":
        return [_whole_book(message)]
    return [msgspec.convert(_plain(message), messages.BY_KIND[kind], strict=False)]


def _whole_book(message: dict[str, object]) -> BookSnapshot:
    """Read a book and, once, its levels, so that one that has broken ones is refused."""
    book = msgspec.json.decode(msgspec.json.encode(_plain(message)), type=messages.Book, strict=False)
    _ = book.bids, book.asks
    return book


def _kind(message: dict[str, object]) -> str:
    return next((kind for kind, keys in _KEYS_OF_KIND.items() if keys <= message.keys()), "")


def _price_change(message: dict[str, object], raw: str) -> list[Event]:
    """Read any generation of the schema, and the whole entries of one that has broken ones."""
    entries = message.get("price_changes", message.get("changes"))
    if entries is None:
        entries = [{key: message[key] for key in ("price", "size", "side") if key in message}]
    shared = {key: message[key] for key in ("asset_id", "hash") if key in message}
    changes: list[messages.LevelChange] = []
    refused: list[Event] = []
    for entry in msgspec.convert(entries, list[object]):
        fields: dict[str, object] = {}
        try:
            fields = shared | msgspec.convert(entry, dict[str, object])
            plain = {key: _plain(value) for key, value in fields.items() if value is not None}
            changes.append(msgspec.convert(plain | _best(fields), messages.LevelChange, strict=False))
        except _REFUSED as error:
            refused.append(_malformed(raw, fields if _names(fields) else message, error))
    plain = {"event_type": "price_change", "market": message.get("market"), "timestamp": message.get("timestamp")}
    event = msgspec.convert(plain | {"price_changes": []}, messages.PriceChange, strict=False)
    return [msgspec.structs.replace(event, changes=changes), *refused]


def _best(fields: dict[str, object]) -> dict[str, object]:
    """Read stated best prices as numbers: none for empty text, and text may begin with the decimal point."""
    stated = {key: fields[key] for key in ("best_bid", "best_ask") if key in fields}
    return {
        key: (float(value) if value else None) if isinstance(value, str) else value for key, value in stated.items()
    }


def _realtime(message: dict[str, object], raw: str) -> list[Event]:
    """Read a message of the real-time data socket."""
    words = complaint_in(message)
    if words is not None:
        return [Control("error", words)]
    if "topic" not in message:
        return [Unknown("", raw)]
    envelope = msgspec.convert(message, messages.Envelope, strict=False)
    if envelope.topic == "activity":
        return [_activity(envelope)]
    if envelope.topic.startswith(_PRICE_TOPICS):
        return _reference_prices(envelope.topic, envelope.payload, raw)
    if envelope.topic == "comments":
        return [Comment(type=envelope.type, timestamp=envelope.timestamp, payload=envelope.payload)]
    return [Unknown(f"{envelope.topic}/{envelope.type}", raw)]


def _activity(envelope: messages.Envelope) -> messages.Activity:
    payload = _present(envelope.payload | {"type": envelope.type})
    activity = msgspec.convert(payload, messages.Activity, strict=False)
    _refuse_unless_finite(activity.price, activity.size)
    return activity


def _prices(message: dict[str, object], raw: str) -> list[Event]:
    """Read a message of the price streams; the number of one with data comes last."""
    words = None if "op" in message else complaint_in(message)
    if words is not None:
        return [Control("error", words)]
    envelope = msgspec.convert(message, messages.StreamEnvelope, strict=False)
    if envelope.op:
        return [_reply(envelope)]
    if envelope.seq is None and not envelope.dropped:
        return _streamed(envelope, raw)
    number = StreamNumber(envelope.channel, number=envelope.seq, dropped=envelope.dropped or 0)
    return [*_streamed(envelope, raw), number]


def _reply(envelope: messages.StreamEnvelope) -> StreamReply:
    rid = envelope.rid if isinstance(envelope.rid, str) else ""
    return StreamReply(
        envelope.op,
        envelope.code or envelope.channel,
        rid=rid,
        channel=envelope.channel,
        code=envelope.code,
        provider=envelope.provider or "",
    )


def _streamed(envelope: messages.StreamEnvelope, raw: str) -> list[Event]:
    """Read what a numbered message holds; one that cannot be read has its number all the same."""
    if isinstance(envelope.payload, list | None) or not envelope.channel.startswith("price."):
        return [Unknown(envelope.channel, raw)]
    try:
        payload = msgspec.convert(envelope.payload, dict[str, object])
        if envelope.snapshot and payload.get("data") is None:
            payload["data"] = []
        return _reference_prices(envelope.channel, payload, raw)
    except (msgspec.ValidationError, ValueError) as error:
        return [Malformed(raw, str(error))]


def _reference_prices(topic: str, payload: dict[str, object], raw: str) -> list[Event]:
    if not isinstance(payload.get("data"), list):
        return [_reference_price(payload | {"topic": topic})]
    # What is the same for every point, such as who tells it, is said once.
    shared = {name: value for name, value in payload.items() if name != "data"}
    told = {"topic": topic, "symbol": payload.get("symbol"), "snapshot": True}
    prices: list[Event] = []
    for point in msgspec.convert(payload["data"], list[object]):
        try:
            prices.append(_reference_price(shared | msgspec.convert(point, dict[str, object]) | told))
        except (msgspec.ValidationError, ValueError) as error:
            prices.append(Malformed(raw, str(error)))
    return prices


def _reference_price(fields: dict[str, object]) -> ReferencePrice:
    if "window_s" in fields:
        fields["window_seconds"] = fields.pop("window_s")
    exact = fields.get("full_accuracy_value")
    if exact is not None:
        fields["full_accuracy_value"] = str(exact)
    price = msgspec.convert(_present(fields), ReferencePrice, strict=False)
    _refuse_unless_finite(price.value)
    return price


def _refuse_unless_finite(*numbers: float) -> None:
    if not all(map(math.isfinite, numbers)):
        raise msgspec.ValidationError("a number is not finite")


_READERS: dict[Channel, Reader] = {
    "market": _clob,
    "user": _clob,
    "realtime": _realtime,
    "prices": _prices,
}


def _without_owner(value: messages.Json) -> messages.Json:
    if isinstance(value, list):
        return [_without_owner(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_owner(item) for key, item in value.items() if not _is_secret(key)}
    return value


def _is_secret(key: str) -> bool:
    return key.replace("_", "").lower() in _SECRET


def _is_deep(data: str | bytes) -> bool:
    if len(data) <= _SHALLOW:
        return False
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    # An object is in an array, whose bracket is counted, or the value of a key.
    return 2 * raw.count(b"[") + len(_INNER_OBJECT.findall(raw)) > _MOST_LEVELS


def _word(data: str | bytes) -> str | None:
    word = _head(data).strip()
    return word if len(data) < _KEPT and (not word or _WORD.fullmatch(word)) else None


def _plain(value: object) -> object:
    """Write numbers as the text they normally come in, and drop keys without a value."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {key: item if key in _AS_SENT else _plain(item) for key, item in fields.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _malformed(raw: str, fields: dict[str, object], error: Exception) -> Malformed:
    return Malformed(raw, str(error), _names(fields))


def _names(message: dict[str, object]) -> tuple[str, ...]:
    """List what may be the id of a token or of a market: what stands under its key, or looks like one under any."""
    found: dict[str, None] = {}
    # Not by recursion: a message may be nested as deep as the decoder allows.
    left: list[tuple[str, object]] = [("", message)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += cast("dict[str, object]", value).items()
        elif isinstance(value, list):
            left += [(key, item) for item in cast("list[object]", value)]
        elif isinstance(value, str) and (key in _NAMING_KEYS or _LIKE_AN_ID.fullmatch(value)):
            found[value] = None
    return tuple(found)


def _head(data: str | bytes) -> str:
    start = data[:_KEPT]
    return (start.encode("utf-8", "replace") if isinstance(start, str) else start).decode("utf-8", "replace")


def _present(fields: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None}
