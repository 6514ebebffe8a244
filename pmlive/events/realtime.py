"""Events beside the order books: activity anywhere, prices from outside, comments, games."""

import msgspec

from pmlive.events.base import Control, Timestamp

__all__ = [
    "Activity",
    "Comment",
    "ReferencePrice",
    "SportResult",
    "StreamNumber",
    "StreamReply",
]


class Activity(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A trade anywhere on the venue, with the wallet: ``trades`` has both sides, ``orders_matched`` the taker."""

    type: str
    token_id: str
    market: str
    timestamp: Timestamp
    price: float
    size: float
    side: str
    event_slug: str = ""
    slug: str = ""
    title: str = ""
    outcome: str = ""
    outcome_index: int | None = None
    proxy_wallet: str = ""
    name: str = ""
    pseudonym: str = ""
    bio: str = ""
    icon: str = ""
    profile_image: str = ""
    transaction_hash: str = ""


class ReferencePrice(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A price from outside the venue (dollars): ``topic`` says whose and of what kind."""

    topic: str
    symbol: str
    timestamp: Timestamp
    value: float
    full_accuracy_value: str = ""
    received_at: Timestamp | None = None
    window_seconds: int | None = None
    is_carried_forward: bool | None = None
    source: str = ""
    snapshot: bool = False


class StreamReply(Control, frozen=True, gc=False):
    """An answer of the price streams: ``rid`` says to which request, ``code`` why not, ``provider`` who serves it."""

    rid: str = ""
    channel: str = ""
    code: str = ""
    provider: str = ""


class StreamNumber(Control, frozen=True, gc=False):
    """The number of a message of the price streams, whose channel is the word.

    Numbers are consecutive by connection and channel; ``dropped`` messages before this one were not sent.
    """

    number: int | None = None
    dropped: int = 0


class Comment(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A comment or reaction under an event, as sent."""

    type: str
    timestamp: Timestamp
    payload: dict[str, object]


class SportResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The state of a game."""

    game_id: int
    league: str
    slug: str
    home_team: str
    away_team: str
    status: str
    score: str = ""
    period: str = ""
    elapsed: str = ""
    live: bool | None = None
    ended: bool | None = None
    turn: str = ""
    finished_timestamp: str = ""
    sportradar_game_id: str = ""
