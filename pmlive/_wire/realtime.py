"""The two real-time sockets: activity and comments, and reference prices in their old and new form."""

import math

import msgspec

from pmlive._wire import messages
from pmlive._wire.complaints import complaint_in
from pmlive.events import (
    Comment,
    Control,
    Event,
    Malformed,
    ReferencePrice,
    StreamNumber,
    StreamReply,
    Unknown,
)

__all__ = ["read_prices", "read_realtime"]

_PRICE_TOPICS = ("crypto_prices", "equity_prices")


def read_realtime(message: dict[str, object], raw: str) -> list[Event]:
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


def read_prices(message: dict[str, object], raw: str) -> list[Event]:
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


def _activity(envelope: messages.Envelope) -> messages.Activity:
    payload = _present(envelope.payload | {"type": envelope.type})
    activity = msgspec.convert(payload, messages.Activity, strict=False)
    _refuse_unless_finite(activity.price, activity.size)
    return activity


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


def _present(fields: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None}
