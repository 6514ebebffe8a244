"""Rolling markets whose slug is arithmetic, such as Bitcoin's five-minute up-or-down."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from typing import Self  # only annotations use it

__all__ = ["Series"]

_NAME = re.compile(r"(?P<name>[a-z0-9-]{1,64}-updown-(?P<count>[1-9]\d{0,3})(?P<unit>[smh]))(?:-(?P<start>\d{1,12}))?")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class Series(msgspec.Struct, frozen=True):
    """One rolling series: each market lasts ``step`` seconds and is named by the second it starts.

    >>> Series.parse("btc-updown-5m").slug_at(1784850923.5)
    'btc-updown-5m-1784850900'
    """

    name: str
    step: int

    @classmethod
    def parse(cls, text: str) -> "Self":
        """Read the name of a series, or the slug of one of its markets.

        Raises:
            ValueError: the text is neither.
        """
        found = _NAME.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:100]!r} is not a series; expected a form like 'btc-updown-5m'")
        return cls(found["name"], int(found["count"]) * _SECONDS[found["unit"]])

    @staticmethod
    def named_by(text: str) -> bool:
        """Tell whether a text is the name of a series or of one of its markets."""
        return _NAME.fullmatch(text) is not None

    def slug_at(self, time: float) -> str:
        """Name the market that runs at a time, in seconds since 1970."""
        return f"{self.name}-{int(time // self.step) * self.step}"

    def start_of(self, slug: str) -> int:
        """Tell when a market of the series starts, in seconds since 1970.

        Raises:
            ValueError: the slug is not of this series.
        """
        found = _NAME.fullmatch(slug)
        if found is None or found["name"] != self.name or found["start"] is None:
            raise ValueError(f"{slug[:100]!r} is not of {self.name}; expected {self.name}-<seconds since 1970>")
        return int(found["start"])

    def end_of(self, slug: str) -> int:
        """Tell when a market of the series ends, in seconds since 1970."""
        return self.start_of(slug) + self.step

    def following(self, slug: str) -> str:
        """Name the market that comes after another."""
        return f"{self.name}-{self.end_of(slug)}"

    def upcoming(self, time: float) -> Iterator[str]:
        """Name the market that runs at a time and, without end, those after it."""
        slug = self.slug_at(time)
        while True:
            yield slug
            slug = self.following(slug)
