"""Keeping strangers' words apart: in answers they stand in fields named ``untrusted_…``, cleaned, and nowhere else."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from pmlive.markets import clean

__all__ = ["Row", "plain", "tidy", "utc", "utc_now"]

Row = dict[str, object]

# Columns whose text somebody other than the venue's engine or pmlive wrote.
_STRANGERS = frozenset(
    {
        "bio",
        "detail",
        "event_slug",
        "icon",
        "name",
        "outcome",
        "payload",
        "profile_image",
        "pseudonym",
        "question",
        "slug",
        "title",
        "winning_outcome",
    }
)
_LONGEST = 120
# A payload is JSON, of little use when it is cut.
_LONGEST_PAYLOAD = 1_000


def utc_now() -> str:
    """Tell the time, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(time: datetime) -> str:
    """Write a time of UTC."""
    return time.isoformat().replace("+00:00", "Z")


def plain(row: Mapping[str, object]) -> Row:
    r"""Make a row of values that JSON can hold, its strangers' words marked and all text cleaned.

    >>> plain({"price": 0.5, "outcome": "Yes\n"})
    {'price': 0.5, 'untrusted_outcome': 'Yes'}
    """
    return {_named(name): _plain(name, value) for name, value in row.items()}


def tidy(row: Mapping[str, object], names: Iterable[str]) -> Row:
    """Keep some of a row's values, those that are there."""
    return {name: row[name] for name in names if row.get(name) is not None}


def _named(name: str) -> str:
    return f"untrusted_{name}" if name in _STRANGERS else name


def _plain(name: str, value: object) -> object:
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, str):
        return clean(value, _LONGEST_PAYLOAD if name == "payload" else _LONGEST)
    if isinstance(value, list):
        return [_plain(name, one) for one in cast("list[object]", value)]
    if isinstance(value, Mapping):
        return plain(cast("Mapping[str, object]", value))
    return value
