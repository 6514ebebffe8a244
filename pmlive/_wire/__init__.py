"""The venue's messages, in and out: the only place that knows its names.

Every kind of message is read by name, never by position. The market channel has a fast ``reader``; what it refuses, and
every other channel, goes element by element through a slower one that forgives what the venue has been seen to vary.
"""

from pmlive._wire.incoming import decode, decode_book, reader, withhold_owner
from pmlive._wire.messages import (
    authenticate,
    complaint,
    has_own_keys,
    is_subscription,
    ping,
    readable,
    refuses_credentials,
    subscribe_market,
    subscribe_prices,
    subscribe_realtime,
    subscribe_user,
    unsubscribe_market,
    unsubscribe_prices,
    unsubscribe_realtime,
    unsubscribe_user,
    without_secrets,
)

__all__ = [
    "authenticate",
    "complaint",
    "decode",
    "decode_book",
    "has_own_keys",
    "is_subscription",
    "ping",
    "readable",
    "reader",
    "refuses_credentials",
    "subscribe_market",
    "subscribe_prices",
    "subscribe_realtime",
    "subscribe_user",
    "unsubscribe_market",
    "unsubscribe_prices",
    "unsubscribe_realtime",
    "unsubscribe_user",
    "withhold_owner",
    "without_secrets",
]
