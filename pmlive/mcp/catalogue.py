"""What a model reads of the tools: each with when to use it, when not, and what it does."""

from msgspec import Struct

from pmlive.mcp import answers, asks
from pmlive.mcp.described import Described
from pmlive.mcp.schemas import outline, schema

__all__ = ["TOOLS"]


def _tool(name: str, title: str, description: str, ask: type[Struct], answer: type[Struct], **hints: bool) -> Described:
    return Described(
        name=name,
        title=title,
        description=description,
        input_schema=schema(ask),
        output_schema=outline(answer),
        **({"read_only": False, "idempotent": True, "destructive": False, "open_world": True} | hints),
    )


TOOLS = [
    _tool(
        "subscribe_market_prices",
        "Follow prices",
        "Start streaming best bid, ask and trades of markets. Use for prices; for more levels use "
        "subscribe_orderbook_updates. Returns the prices now. Asking again returns the same subscription.",
        asks.SubscribeMarkets,
        answers.Subscribed,
    ),
    _tool(
        "subscribe_orderbook_updates",
        "Follow order books",
        "Start streaming the best levels of order books. Use when depth or size matters, else subscribe_market_prices. "
        "Returns the books now. Asking again returns the same subscription.",
        asks.SubscribeBooks,
        answers.Subscribed,
    ),
    _tool(
        "subscribe_user_orders",
        "Follow the user's orders",
        "Start streaming the status of the user's own orders. Needs credentials on the server; cannot place or cancel.",
        asks.SubscribeUser,
        answers.Subscribed,
    ),
    _tool(
        "subscribe_user_trades",
        "Follow the user's trades",
        "Start streaming the user's own fills, again with each new status. Needs credentials on the server; for "
        "everybody's trades use subscribe_market_prices.",
        asks.SubscribeUser,
        answers.Subscribed,
    ),
    _tool(
        "subscribe_market_resolution",
        "Await outcomes",
        "Be told which outcome won when markets resolve. Use for the result alone; prices come by "
        "subscribe_market_prices.",
        asks.SubscribeMarkets,
        answers.Subscribed,
    ),
    _tool(
        "get_realtime_status",
        "Status and new events",
        "Tell connections, subscriptions, counts and, with since, the events after a cursor; gap=true means some were "
        "lost to you. Use to follow subscriptions by long poll. Not for history: use query_recording.",
        asks.GetStatus,
        answers.Status,
        read_only=True,
    ),
    _tool(
        "unsubscribe_realtime",
        "End a subscription",
        "Stop one subscription; others and recordings go on. Use when its events are not needed any more.",
        asks.Unsubscribe,
        answers.Unsubscribed,
        idempotent=False,
    ),
    _tool(
        "find_markets",
        "Find markets",
        "Search the venue's catalogue by words, or look up a slug, address or id. Use first when you lack ids; not for "
        "prices.",
        asks.FindMarkets,
        answers.Markets,
        read_only=True,
    ),
    _tool(
        "get_book",
        "Order book now or then",
        "Give one order book: of a subscribed token now, or with recording as it was at a time. A book that cannot be "
        "trusted has trust=stale and no levels.",
        asks.GetBook,
        answers.Book,
        read_only=True,
    ),
    _tool(
        "query_recording",
        "Query a recording",
        "Read rows of one table of a recording in a time range, or aggregate them by token and interval; tells gaps. "
        "Use for the past; for one whole book use get_book.",
        asks.QueryRecording,
        answers.Rows,
        read_only=True,
        open_world=False,
    ),
    _tool(
        "get_recording_quality",
        "Recordings and their quality",
        "List recordings, or tell what one is worth: coverage, gaps with causes, checks, latency. Use before drawing "
        "conclusions from a recording.",
        asks.GetQuality,
        answers.Quality,
        read_only=True,
        open_world=False,
    ),
]
