"""The frames that are sent to the venue."""

from collections.abc import Sequence

import msgspec

from pmlive.events import Channel

__all__ = [
    "authenticate",
    "ping",
    "subscribe_market",
    "subscribe_prices",
    "subscribe_realtime",
    "subscribe_user",
    "unsubscribe_market",
    "unsubscribe_prices",
    "unsubscribe_realtime",
    "unsubscribe_user",
]

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
