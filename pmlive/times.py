"""Times as people write them."""

from datetime import UTC, datetime, timedelta

__all__ = ["instant"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(time: str | datetime | int) -> int:
    """Read a time as nanoseconds since 1970: ISO 8601 text (UTC where it names no zone), a datetime, or such a number.

    >>> instant("2026-11-23T02:14:07Z"), instant("2026-11-23 02:14:07.5"), instant(1795400047000000000)
    (1795400047000000000, 1795400047500000000, 1795400047000000000)

    Raises:
        TypeError: it is none of these.
        ValueError: the text is no time.
    """
    if isinstance(time, bool) or not isinstance(time, str | datetime | int):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
        raise TypeError(f"a time is ISO 8601 text, a datetime or nanoseconds since 1970; got {type(time).__name__}")
    if isinstance(time, int):
        return time
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time.strip())
        except ValueError:
            raise ValueError(f"{time[:60]!r} is not a time; expected one like 2026-11-23T02:14:07Z") from None
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1000
