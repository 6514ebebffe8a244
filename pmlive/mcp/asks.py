"""What the tools are asked: names, bounds and descriptions of their parameters, from which the schemas are made.

Models read every byte of the schemas, so that the bounds of texts, which nobody meets by chance, are not told there.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

__all__ = [
    "FindMarkets",
    "GetBook",
    "GetQuality",
    "GetStatus",
    "QueryRecording",
    "SubscribeBooks",
    "SubscribeMarkets",
    "SubscribeUser",
    "Unsubscribe",
]

CallbackType: TypeAlias = Literal["notification", "log"]

_Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=500)]
_Some = Meta(min_length=1, max_length=100)
_Callback: TypeAlias = Annotated[CallbackType, Meta(description="Push to the client, or to the server's log too")]
_Depth: TypeAlias = Annotated[int, Meta(description="Levels a side", ge=1, le=100)]
_Token: TypeAlias = Annotated[_Text, Meta(description="Token id, or with outcome a slug or condition id")]
_Outcome: TypeAlias = Annotated[_Text, Meta(description="Such as Yes")]
_Interval: TypeAlias = Annotated[
    str, Meta(description="With aggregate: 10s, 1m, 1h …", pattern=r"^[1-9]\d{0,5}(ms|s|m|h|d)$")
]


class _Ask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a tool; there are no others."""


class SubscribeMarkets(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for markets."""

    market_ids: Annotated[list[_Text], _Some, Meta(description="Condition ids, token ids, slugs or URLs")]
    callback_type: _Callback = "notification"


class SubscribeBooks(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for order books."""

    token_ids: Annotated[list[_Text], _Some, Meta(description="Token ids; a market means all its outcomes")]
    depth: _Depth = 10
    callback_type: _Callback = "notification"


class SubscribeUser(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for what is the user's own."""

    market_ids: Annotated[list[_Text], _Some, Meta(description="Default: all")] | None = None
    callback_type: _Callback = "notification"


class GetStatus(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask how it goes and what is new."""

    subscription_id: Annotated[_Text, Meta(description="Of this alone")] | None = None
    since: Annotated[int, Meta(description="cursor of an earlier answer", ge=0)] | None = None
    wait_seconds: Annotated[float, Meta(description="With since: wait for an event", ge=0, le=25)] = 0.0
    limit: Annotated[int, Meta(description="Most events", ge=1, le=50)] = 20
    detail: Annotated[Literal["concise", "detailed"], Meta(description="Of events")] = "concise"


class Unsubscribe(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask to end a subscription."""

    subscription_id: Annotated[_Text, Meta(description="Whole id")]


class FindMarkets(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for markets by words or names."""

    query: Annotated[_Text, Meta(description="Words, slug, URL or id")]
    limit: Annotated[int, Meta(description="Most markets", ge=1, le=20)] = 5


class GetBook(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a book, now or then."""

    token: _Token
    outcome: _Outcome | None = None
    recording: Annotated[_Text, Meta(description="Default: the live feed")] | None = None
    at: Annotated[_Text, Meta(description="With recording: ISO time, UTC; default its end")] | None = None
    depth: _Depth = 10


class QueryRecording(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for rows of a recording."""

    recording: Annotated[_Text, Meta(description="Name")]
    table: Annotated[
        Literal[
            "prices",
            "book_snapshots",
            "book_deltas",
            "trades",
            "market_events",
            "user_orders",
            "user_trades",
            "activity",
            "reference_prices",
            "gaps",
            "checks",
        ],
        Meta(description="Which rows"),
    ]
    columns: Annotated[list[_Text], Meta(description="Default: all", min_length=1, max_length=30)] | None = None
    token: _Token | None = None
    outcome: _Outcome | None = None
    start: Annotated[_Text, Meta(description="Received from, ISO time, UTC")] | None = None
    end: Annotated[_Text, Meta(description="Received before")] | None = None
    aggregate: Annotated[
        Literal["first", "last", "min", "max", "mean", "sum", "count"] | None,
        Meta(description="One row a token and interval"),
    ] = None
    every: _Interval | None = None
    last: Annotated[bool, Meta(description="Newest rows")] = False
    limit: Annotated[int, Meta(description="Most rows", ge=1, le=200)] = 50


class GetQuality(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask how good a recording is, or which there are."""

    recording: Annotated[_Text, Meta(description="Name; without it all are listed")] | None = None
    limit: Annotated[int, Meta(description="Most entries of each list", ge=1, le=50)] = 10
