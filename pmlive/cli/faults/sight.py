"""What the books of a recorder said at one moment."""

import msgspec

__all__ = ["Given", "Sight"]


class Given(msgspec.Struct, frozen=True):
    """A book that was given to who asked, best levels first."""

    state: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """The books of all tokens between two times (nanoseconds); None for one that refused to answer."""

    since: int
    until: int
    books: dict[str, Given | None]
