"""References to markets: an address, an id, a slug, a series, or words to search for.

A token id is a number below 2**256 in decimal digits. Most have 75 to 78 of them, but those of protocol V2 markets may
have fewer. A condition id is ``0x`` and 32 bytes in hexadecimal digits, or 31 bytes in V2 markets. Both are opaque:
they are compared and passed on as they were written. A series is a row of rolling markets whose slugs are arithmetic,
such as Bitcoin's five-minute up-or-down.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    from typing import Self  # only annotations use it

__all__ = [
    "Reference",
    "ReferenceKind",
    "Series",
    "is_condition_id",
    "is_hexadecimal",
    "is_long_token_id",
    "is_token_id",
    "reference",
]

ReferenceKind: TypeAlias = Literal["event", "market", "slug", "condition id", "token id", "series", "words"]

_LONGEST = 2000
_HOSTS = frozenset({"polymarket.com", "www.polymarket.com"})
_EXPECTED = "https://polymarket.com/event/<event>[/<market>]"

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//.*|(?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?/\S*", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2}(-[a-z]{2,4})?", re.IGNORECASE)
_HEX = re.compile(r"0x[0-9a-f]+", re.IGNORECASE)
_NO_NUMBER = re.compile(r"[0-9]*[a-f][0-9a-f]*", re.IGNORECASE)
_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,299}", re.IGNORECASE)

_SERIES = re.compile(
    r"(?P<name>[a-z0-9-]{1,64}-updown-(?P<count>[1-9]\d{0,3})(?P<unit>[smh]))(?:-(?P<start>\d{1,12}))?"
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}

_TOKEN_ID = re.compile(r"[0-9]{1,78}")
_TOKEN_ID_BELOW = 2**256
# The catalogue numbers its markets, too, with far fewer digits than this.
_LONG_TOKEN_ID = 20
_CONDITION_ID = re.compile(r"0x(?:[0-9a-f]{64}|[0-9a-f]{62})", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"0x[0-9a-f]{1,64}", re.IGNORECASE)


class Reference(msgspec.Struct, frozen=True):
    """What a text names; ``event`` is the event's slug where an address has both."""

    kind: ReferenceKind
    value: str
    event: str = ""


def reference(text: str) -> Reference:
    """Return what a text names, without asking the venue.

    >>> reference("https://polymarket.com/fr/event/fed-decision-in-december/fed-no-change?tid=1")
    Reference(kind='market', value='fed-no-change', event='fed-decision-in-december')
    >>> reference("btc-updown-5m").kind, reference("fed decision").kind
    ('series', 'words')

    Raises:
        TypeError: not a text.
        ValueError: nothing is named, an address of another site, or an id of a wrong length.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise TypeError(f"a market is named by text, also where it is a number, not by {type(text).__name__}")
    pasted = text.strip().strip("<>\"'`").strip()
    if not pasted or len(pasted) > _LONGEST:
        raise ValueError(f"a market must be named: {_EXPECTED}, a slug, an id or words to search for")
    if _URL.fullmatch(pasted):
        return _from_address(pasted)
    return _from_id(pasted) or _from_name(pasted)


class Series(msgspec.Struct, frozen=True):
    """A series: each market lasts ``step`` seconds and is named by the second it starts.

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
        found = _SERIES.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:100]!r} is not a series; expected a form like 'btc-updown-5m'")
        return cls(found["name"], int(found["count"]) * _SECONDS[found["unit"]])

    @staticmethod
    def named_by(text: str) -> bool:
        """Check whether a text is the name of a series or of one of its markets."""
        return _SERIES.fullmatch(text) is not None

    def slug_at(self, time: float) -> str:
        """Return the slug of the market that runs at a time, in seconds since 1970."""
        return f"{self.name}-{int(time // self.step) * self.step}"

    def start_of(self, slug: str) -> int:
        """Return when a market of the series starts, in seconds since 1970.

        Raises:
            ValueError: the slug is not of this series.
        """
        found = _SERIES.fullmatch(slug)
        if found is None or found["name"] != self.name or found["start"] is None:
            raise ValueError(f"{slug[:100]!r} is not of {self.name}; expected {self.name}-<seconds since 1970>")
        return int(found["start"])

    def end_of(self, slug: str) -> int:
        """Return when a market of the series ends, in seconds since 1970."""
        return self.start_of(slug) + self.step

    def following(self, slug: str) -> str:
        """Return the slug of the market that comes after another."""
        return f"{self.name}-{self.end_of(slug)}"

    def upcoming(self, time: float) -> Iterator[str]:
        """Yield the slugs of the market that runs at a time and, without end, of those after it."""
        slug = self.slug_at(time)
        while True:
            yield slug
            slug = self.following(slug)


def is_token_id(text: str) -> bool:
    """Check whether a text can be a token id.

    >>> is_token_id("7"), is_token_id("9" * 77), is_token_id("9" * 78), is_token_id("0x7")
    (True, True, False, False)
    """
    return _TOKEN_ID.fullmatch(text) is not None and int(text) < _TOKEN_ID_BELOW


def is_long_token_id(text: str) -> bool:
    """Check whether a text is a token id and has too many digits to be the catalogue's number of a market."""
    return len(text) >= _LONG_TOKEN_ID and is_token_id(text)


def is_condition_id(text: str) -> bool:
    """Check whether a text has the form of a condition id, of 32 or of 31 bytes."""
    return _CONDITION_ID.fullmatch(text) is not None


def is_hexadecimal(text: str) -> bool:
    """Check whether a text can stand where the venue writes a condition id: any hexadecimal digits, 64 at most."""
    return _HEXADECIMAL.fullmatch(text) is not None


def _from_id(text: str) -> Reference | None:
    if is_condition_id(text):
        return Reference("condition id", text.lower())
    if is_token_id(text):
        return Reference("token id", text)
    if _NO_NUMBER.fullmatch(text) and is_condition_id(f"0x{text}"):
        return Reference("condition id", f"0x{text.lower()}")
    if _HEX.fullmatch(text):
        digits = len(text) - 2
        raise ValueError(f"{text[:100]!r} has {digits} hexadecimal digits; a condition id has 64 or 62 (a wallet, 40)")
    if text.isascii() and text.isdigit():
        raise ValueError(
            f"{text[:100]!r} has {len(text)} digits and is not a token id, which is below 2**256 and has 78 at most"
        )
    return None


def _from_name(text: str) -> Reference:
    if not _SLUG.fullmatch(text):
        return Reference("words", text)
    try:
        series = Series.parse(text.lower())
    except ValueError:
        return Reference("slug", text.lower())
    return Reference("series" if series.name == text.lower() else "slug", text.lower())


def _from_address(text: str) -> Reference:
    parts = _split(text)
    if parts is None or parts.scheme not in {"http", "https"} or parts.hostname not in _HOSTS or "@" in parts.netloc:
        raise ValueError(f"not an address of a market of Polymarket; expected {_EXPECTED}")
    path = [unquote(part) for part in parts.path.split("/") if part]
    if path and _LANGUAGE.fullmatch(path[0]):
        del path[0]
    found = _from_path(path)
    if found is None:
        raise ValueError(f"{'/' + '/'.join(path)[:100]!r} on polymarket.com is not a market; expected {_EXPECTED}")
    return found


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text if _SCHEME.match(text) else f"https://{text.removeprefix('//')}")
    except ValueError:
        return None


def _from_path(path: list[str]) -> Reference | None:
    if not all(_SLUG.fullmatch(part) for part in path):
        return None
    match [part.lower() for part in path]:
        case ["event", event]:
            return Reference("event", event, event)
        case ["event", event, market, *_]:
            return Reference("market", market, event)
        case ["market", market, *_]:
            return Reference("market", market)
        # Games lie under their league and week: /sports/nba/games/week/5/nba-lal-bos-2026-11-20.
        case ["sports" | "esports", _, *_, event]:
            return Reference("event", event, event)
        case _:
            return None
