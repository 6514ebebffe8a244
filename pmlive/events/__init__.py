"""Events: what the venue sends, as typed values.

Prices and sizes are the venue's decimal text, untouched: the text is what its book hash covers. ``Book`` turns them
into numbers once. Times are as sent, in ``timestamp``; ``epoch_ns`` reads them, in whatever unit.
"""

from typing import TypeAlias

from pmlive.events.base import (
    SECONDS_BELOW,
    BookSide,
    Cause,
    Channel,
    Check,
    Control,
    Gap,
    Malformed,
    Probability,
    Timestamp,
    Unknown,
    epoch_ns,
)
from pmlive.events.market import (
    BestBidAsk,
    BookSnapshot,
    Level,
    LevelChange,
    MarketResolved,
    NewMarket,
    PriceChange,
    TickSizeChange,
    Trade,
)
from pmlive.events.realtime import Activity, Comment, ReferencePrice, SportResult, StreamNumber, StreamReply
from pmlive.events.user import MakerOrder, UserOrder, UserTrade

__all__ = [
    "SECONDS_BELOW",
    "Activity",
    "BestBidAsk",
    "BookSide",
    "BookSnapshot",
    "Cause",
    "Channel",
    "Check",
    "Comment",
    "Control",
    "Event",
    "Gap",
    "Level",
    "LevelChange",
    "MakerOrder",
    "Malformed",
    "MarketResolved",
    "NewMarket",
    "PriceChange",
    "Probability",
    "ReferencePrice",
    "SportResult",
    "StreamNumber",
    "StreamReply",
    "TickSizeChange",
    "Timestamp",
    "Trade",
    "Unknown",
    "UserOrder",
    "UserTrade",
    "epoch_ns",
]

Event: TypeAlias = (
    PriceChange
    | BookSnapshot
    | Trade
    | BestBidAsk
    | TickSizeChange
    | NewMarket
    | MarketResolved
    | UserOrder
    | UserTrade
    | Activity
    | ReferencePrice
    | Comment
    | SportResult
    | Control
    | Unknown
    | Malformed
)
