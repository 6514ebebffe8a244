"""Definitions of the tools: their parameters, what they answer, and what a model reads of them.

Schemas are made from the parameters and the answers, as small as they can be, for models read every byte of them. So
the bounds of texts, which nobody meets by chance, are not in them.
"""

from typing import Annotated, Literal, TypeAlias, TypedDict

import msgspec
from msgspec import Meta, Struct

from pmlive.mcp.safety import Row
from pmlive.mcp.specs import ObjectSchema, Schema, ToolSpec

__all__ = [
    "TOOLS",
    "BookResponse",
    "CallbackType",
    "FindMarkets",
    "GetBook",
    "GetQuality",
    "GetStatus",
    "MarketsResponse",
    "QualityResponse",
    "QueryRecording",
    "RowsResponse",
    "StatusResponse",
    "SubscribeBooks",
    "SubscribeMarkets",
    "SubscribeUser",
    "SubscriptionResponse",
    "Unsubscribe",
    "UnsubscribeResponse",
]

CallbackType: TypeAlias = Literal["notification", "log"]

_Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=500)]
_LIST = Meta(min_length=1, max_length=100)
_Callback: TypeAlias = Annotated[CallbackType, Meta(description="Push to the client, or to the server's log too")]
_Depth: TypeAlias = Annotated[int, Meta(description="Levels a side", ge=1, le=100)]
_Token: TypeAlias = Annotated[_Text, Meta(description="Token id, or with outcome a slug or condition id")]
_Outcome: TypeAlias = Annotated[_Text, Meta(description="Such as Yes")]
_Interval: TypeAlias = Annotated[
    str, Meta(description="With aggregate: 10s, 1m, 1h …", pattern=r"^[1-9]\d{0,5}(ms|s|m|h|d)$")
]


# --- parameters ---


class _Params(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a tool; there are no others."""


class SubscribeMarkets(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the subscriptions to prices and to resolutions."""

    market_ids: Annotated[list[_Text], _LIST, Meta(description="Condition ids, token ids, slugs or URLs")]
    callback_type: _Callback = "notification"


class SubscribeBooks(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a subscription to order books."""

    token_ids: Annotated[list[_Text], _LIST, Meta(description="Token ids; a market means all its outcomes")]
    depth: _Depth = 10
    callback_type: _Callback = "notification"


class SubscribeUser(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the subscriptions to the user's own orders and trades."""

    market_ids: Annotated[list[_Text], _LIST, Meta(description="Default: all")] | None = None
    callback_type: _Callback = "notification"


class GetStatus(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the status and of new events."""

    subscription_id: Annotated[_Text, Meta(description="Of this alone")] | None = None
    since: Annotated[int, Meta(description="cursor of an earlier answer", ge=0)] | None = None
    wait_seconds: Annotated[float, Meta(description="With since: wait for an event", ge=0, le=25)] = 0.0
    limit: Annotated[int, Meta(description="Most events", ge=1, le=50)] = 20
    detail: Annotated[Literal["concise", "detailed"], Meta(description="Of events")] = "concise"


class Unsubscribe(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the end of a subscription."""

    subscription_id: Annotated[_Text, Meta(description="Whole id")]


class FindMarkets(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a search for markets."""

    query: Annotated[_Text, Meta(description="Words, slug, URL or id")]
    limit: Annotated[int, Meta(description="Most markets", ge=1, le=20)] = 5


class GetBook(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a book, now or in the past."""

    token: _Token
    outcome: _Outcome | None = None
    recording: Annotated[_Text, Meta(description="Default: the live feed")] | None = None
    at: Annotated[_Text, Meta(description="With recording: ISO time, UTC; default its end")] | None = None
    depth: _Depth = 10


class QueryRecording(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a query to a recording."""

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


class GetQuality(_Params, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a recording's quality, or of the list of recordings."""

    recording: Annotated[_Text, Meta(description="Name; without it all are listed")] | None = None
    limit: Annotated[int, Meta(description="Most entries of each list", ge=1, le=50)] = 10


# --- answers ---


class Response(Struct, frozen=True, kw_only=True):
    """What every tool answers: the time that it describes, and how far to trust it."""

    as_of: str
    trust: str


class SubscriptionResponse(Response, frozen=True, kw_only=True, omit_defaults=True):
    """A subscription, new or made before, and its tokens now."""

    subscription_id: str
    created: bool
    type: str
    callback_type: Literal["notification", "log"]
    tokens: list[Row]
    tokens_total: int
    cursor: int
    depth: int | None = None


class StatusResponse(Response, frozen=True, kw_only=True, omit_defaults=True):
    """The status, and the events after a cursor."""

    connections: Row
    subscriptions: Row
    statistics: Row
    background_task: Row
    books: Row
    cursor: int
    gap: bool
    more: bool
    events: list[Row]
    tokens: list[Row]
    recording: Row | None = None
    replay: Row | None = None


class UnsubscribeResponse(Response, frozen=True, kw_only=True, omit_defaults=True):
    """A subscription that ended."""

    subscription_id: str
    events_received: int
    active: int


class MarketsResponse(Response, frozen=True, kw_only=True, omit_defaults=True):
    """The markets that were found."""

    markets: list[Row]
    found: int


class BookResponse(Response, frozen=True, kw_only=True, omit_defaults=True):
    """A book, or why none can be trusted."""

    token_id: str
    condition_id: str
    untrusted_label: str
    best_bid: float | None
    best_ask: float | None
    mid: float | None
    spread: float | None
    bids: list[list[float]] | None
    asks: list[list[float]] | None
    ts_recv: str | None


class RowsResponse(Response, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of a recording, and the gaps among them."""

    rows: list[Row]
    more: bool
    gaps: list[Row]
    gaps_total: int


class QualityResponse(Response, frozen=True, kw_only=True, omit_defaults=True):
    """The quality of a recording, or the list of recordings."""

    recordings: list[Row] | None = None
    recording: Row | None = None


# --- schemas ---

# A schema as msgspec makes it, or any part of one.
_Part: TypeAlias = "dict[str, _Part] | list[_Part] | str | int | float | bool | None"

# Stands for the schema of what may be anything, which msgspec does not take for one when it is empty.
_ANYTHING: dict[str, _Part] = {"anything": True}
_LEFT_OUT = ("title", "minLength", "maxLength")


class _RawSchema(TypedDict):
    """What is used of the schema that msgspec makes of a struct."""

    properties: dict[str, Schema]
    required: list[str]


def _input_schema(kind: type[Struct]) -> ObjectSchema:
    whole = _raw_schema(kind)
    schema: ObjectSchema = {
        "type": "object",
        "properties": {name: _optional(part) for name, part in whole["properties"].items()},
        "required": whole["required"],
        "additionalProperties": False,
    }
    if not schema["required"]:
        del schema["required"]
    return schema


def _output_schema(kind: type[Struct]) -> ObjectSchema:
    properties = _raw_schema(kind)["properties"]
    return {"type": "object", "properties": {name: {"type": _types(part)} for name, part in properties.items()}}


def _raw_schema(kind: type[Struct]) -> _RawSchema:
    (_,), parts = msgspec.json.schema_components([kind], schema_hook=_hook, ref_template="{name}")
    return msgspec.convert(_shortened(parts[kind.__name__]), _RawSchema)


def _hook(kind: type) -> dict[str, _Part]:
    if kind is object:
        return _ANYTHING
    raise NotImplementedError


def _shortened(part: _Part) -> _Part:
    """Leave out what says nothing to a reader."""
    if isinstance(part, list):
        return [_shortened(each) for each in part]
    if not isinstance(part, dict):
        return part
    short = {name: _shortened(value) for name, value in part.items() if name not in _LEFT_OUT and value != _ANYTHING}
    return {"type": "string", **short} if "enum" in part else short


def _optional(schema: Schema) -> Schema:
    """Leave out that a parameter may be null, which is as good as left out."""
    if schema.get("default", ...) is not None:
        return schema
    kinds = msgspec.convert(schema.get("anyOf", [schema]), list[Schema])
    (kind,) = (each for each in kinds if each != {"type": "null"})
    values = [value for value in msgspec.convert(kind.get("enum", []), list[object]) if value is not None]
    merged = kind | {name: value for name, value in schema.items() if name not in ("anyOf", "default", "enum")}
    return {name: value for name, value in merged.items() if name != "default"} | ({"enum": values} if values else {})


def _types(schema: Schema) -> object:
    """Return the type of a value, or its types."""
    if "anyOf" not in schema:
        return schema["type"]
    kinds = [each["type"] for each in msgspec.convert(schema["anyOf"], list[Schema])]
    return kinds[0] if len(kinds) == 1 else kinds


# --- tools ---


def _tool(
    name: str, title: str, description: str, params: type[Struct], response: type[Struct], **hints: bool
) -> ToolSpec:
    return ToolSpec(
        name=name,
        title=title,
        description=description,
        input_schema=_input_schema(params),
        output_schema=_output_schema(response),
        **({"read_only": False, "idempotent": True, "destructive": False, "open_world": True} | hints),
    )


# Each with when to use it, when not, and what it does.
TOOLS = [
    _tool(
        "subscribe_market_prices",
        "Follow prices",
        "Start streaming best bid, ask and trades of markets. Use for prices; for more levels use "
        "subscribe_orderbook_updates. Returns the prices now. Asking again returns the same subscription.",
        SubscribeMarkets,
        SubscriptionResponse,
    ),
    _tool(
        "subscribe_orderbook_updates",
        "Follow order books",
        "Start streaming the best levels of order books. Use when depth or size matters, else subscribe_market_prices. "
        "Returns the books now. Asking again returns the same subscription.",
        SubscribeBooks,
        SubscriptionResponse,
    ),
    _tool(
        "subscribe_user_orders",
        "Follow the user's orders",
        "Start streaming the status of the user's own orders. Needs credentials on the server; cannot place or cancel.",
        SubscribeUser,
        SubscriptionResponse,
    ),
    _tool(
        "subscribe_user_trades",
        "Follow the user's trades",
        "Start streaming the user's own fills, again with each new status. Needs credentials on the server; for "
        "everybody's trades use subscribe_market_prices.",
        SubscribeUser,
        SubscriptionResponse,
    ),
    _tool(
        "subscribe_market_resolution",
        "Await outcomes",
        "Be told which outcome won when markets resolve. Use for the result alone; prices come by "
        "subscribe_market_prices.",
        SubscribeMarkets,
        SubscriptionResponse,
    ),
    _tool(
        "get_realtime_status",
        "Status and new events",
        "Return connections, subscriptions, counts and, with since, the events after a cursor; gap=true means some "
        "were lost to you. Use to follow subscriptions by long poll. Not for history: use query_recording.",
        GetStatus,
        StatusResponse,
        read_only=True,
    ),
    _tool(
        "unsubscribe_realtime",
        "End a subscription",
        "Stop one subscription; others and recordings go on. Use when its events are not needed any more.",
        Unsubscribe,
        UnsubscribeResponse,
        idempotent=False,
    ),
    _tool(
        "find_markets",
        "Find markets",
        "Search the venue's catalogue by words, or look up a slug, address or id. Use first when you lack ids; not for "
        "prices.",
        FindMarkets,
        MarketsResponse,
        read_only=True,
    ),
    _tool(
        "get_book",
        "Order book now or then",
        "Return one order book: of a subscribed token now, or with recording as it was at a time. A book that cannot "
        "be trusted has trust=stale and no levels.",
        GetBook,
        BookResponse,
        read_only=True,
    ),
    _tool(
        "query_recording",
        "Query a recording",
        "Read rows of one table of a recording in a time range, or aggregate them by token and interval; lists gaps. "
        "Use for the past; for one whole book use get_book.",
        QueryRecording,
        RowsResponse,
        read_only=True,
        open_world=False,
    ),
    _tool(
        "get_recording_quality",
        "Recordings and their quality",
        "List recordings, or judge one: coverage, gaps with causes, checks, latency. Use before drawing "
        "conclusions from a recording.",
        GetQuality,
        QualityResponse,
        read_only=True,
        open_world=False,
    ),
]
