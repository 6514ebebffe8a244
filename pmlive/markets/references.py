"""What a user pasted: an address, an id, a slug, the name of a series, or words to search for."""

import re
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from pmlive.markets import ids
from pmlive.markets.series import Series

__all__ = ["Kind", "Reference", "reference"]

Kind: TypeAlias = Literal["event", "market", "slug", "condition id", "token id", "series", "words"]

_LONGEST = 2000
_HOSTS = frozenset({"polymarket.com", "www.polymarket.com"})
_EXPECTED = "https://polymarket.com/event/<event>[/<market>]"

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//.*|(?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?/\S*", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2}(-[a-z]{2,4})?", re.IGNORECASE)
_HEX = re.compile(r"0x[0-9a-f]+", re.IGNORECASE)
_NO_NUMBER = re.compile(r"[0-9]*[a-f][0-9a-f]*", re.IGNORECASE)
_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,299}", re.IGNORECASE)


class Reference(msgspec.Struct, frozen=True):
    """What a text names; ``event`` is the event's slug where an address told both."""

    kind: Kind
    value: str
    event: str = ""


def reference(text: str) -> Reference:
    """Tell what a text names, without asking anybody.

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
        return _of_address(pasted)
    return _of_id(pasted) or _of_name(pasted)


def _of_id(text: str) -> Reference | None:
    if ids.is_condition_id(text):
        return Reference("condition id", text.lower())
    if ids.is_token_id(text):
        return Reference("token id", text)
    if _NO_NUMBER.fullmatch(text) and ids.is_condition_id(f"0x{text}"):
        return Reference("condition id", f"0x{text.lower()}")
    if _HEX.fullmatch(text):
        digits = len(text) - 2
        raise ValueError(f"{text[:100]!r} has {digits} hexadecimal digits; a condition id has 64 or 62 (a wallet, 40)")
    if text.isascii() and text.isdigit():
        raise ValueError(
            f"{text[:100]!r} has {len(text)} digits and is no token id, which is below 2**256 and has 78 at most"
        )
    return None


def _of_name(text: str) -> Reference:
    if not _SLUG.fullmatch(text):
        return Reference("words", text)
    try:
        series = Series.parse(text.lower())
    except ValueError:
        return Reference("slug", text.lower())
    return Reference("series" if series.name == text.lower() else "slug", text.lower())


def _of_address(text: str) -> Reference:
    parts = _split(text)
    if parts is None or parts.scheme not in {"http", "https"} or parts.hostname not in _HOSTS or "@" in parts.netloc:
        raise ValueError(f"not an address of a market of Polymarket; expected {_EXPECTED}")
    path = [unquote(part) for part in parts.path.split("/") if part]
    if path and _LANGUAGE.fullmatch(path[0]):
        del path[0]
    found = _of_path(path)
    if found is None:
        raise ValueError(f"{'/' + '/'.join(path)[:100]!r} on polymarket.com is not a market; expected {_EXPECTED}")
    return found


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text if _SCHEME.match(text) else f"https://{text.removeprefix('//')}")
    except ValueError:
        return None


def _of_path(path: list[str]) -> Reference | None:
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
