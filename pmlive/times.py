"""Times and intervals: read into nanoseconds as people write them, and how far those of two clocks may differ."""

import re
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

__all__ = [
    "CLOCK_ERROR_NS",
    "DAY_NS",
    "LONGEST_LATENCY_NS",
    "Interval",
    "Time",
    "clock",
    "interval",
    "moment",
    "nanoseconds",
    "utc",
]

# ISO 8601 text or a datetime, both UTC unless they have a zone, or nanoseconds since 1970.
Time: TypeAlias = str | datetime | int
# Such as "500ms", "1s", "5m", "1h", "1d", or a timedelta.
Interval: TypeAlias = str | timedelta

DAY_NS = 86_400 * 10**9
# A message that takes longer than this, by the venue's time of it, shows that a clock is wrong, not that the network is
# slow.
LONGEST_LATENCY_NS = 120 * 10**9
# From this difference between our clock and the venue's on, it is no longer taken for latency alone.
CLOCK_ERROR_NS = 10**9

# 64 bits hold some years more, so that intervals around such a time do not overflow either.
_FARTHEST = 9 * 10**18

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"\.(\d{1,9})\d*")
_INTERVAL = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": DAY_NS}


def nanoseconds(time: Time) -> int:
    """Convert a time to nanoseconds since 1970.

    Whoever means "for ever" may write a year that 64 bits do not reach: before 1684 and after 2255, where no clock has
    been, the first and the last time are returned.

    Raises:
        TypeError: it is neither text, nor a datetime, nor a whole number.
        ValueError: the text is not a time.

    >>> nanoseconds("1970-01-01T00:00:01.000000002Z")
    1000000002
    >>> utc("9999-12-31")
    '2255-03-14 16:00:00.000'
    """
    return max(-_FARTHEST, min(_nanoseconds(time), _FARTHEST))


def _nanoseconds(time: Time) -> int:
    if isinstance(time, int) and not isinstance(time, bool):
        return time
    if isinstance(time, datetime):
        return _from_datetime(time)
    if not isinstance(time, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a time is ISO 8601 text, a datetime or nanoseconds since 1970; got {type(time).__name__}")
    fraction = _FRACTION.search(time)
    try:
        whole = datetime.fromisoformat(_FRACTION.sub("", time).strip())
    except ValueError as error:
        raise ValueError(f"invalid time {time[:60]!r}; expected ISO 8601, such as 2026-11-23T02:14:07Z") from error
    return _from_datetime(whole) + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def _from_datetime(time: datetime) -> int:
    since = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000


def moment(time_ns: int) -> datetime:
    """Convert nanoseconds since 1970 to a datetime, which is exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=time_ns // 1_000)


def clock(time: datetime) -> str:
    """Write the time of day in UTC, to the second.

    >>> clock(datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC))
    '02:14:07 UTC'
    """
    return f"{time.astimezone(UTC):%H:%M:%S} UTC"


def utc(time: Time) -> str:
    """Format a time in UTC, to the millisecond.

    >>> utc(1_500_000_000), utc("1970-01-01T01:00:01+01:00")
    ('1970-01-01 00:00:01.500', '1970-01-01 00:00:01.000')
    """
    return f"{moment(nanoseconds(time)):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def interval(every: Interval) -> int:
    """Convert an interval to nanoseconds.

    Raises:
        TypeError: it is neither text nor a timedelta.
        ValueError: it is not above zero, or the text is not an interval.

    >>> interval("1m30s")
    90000000000
    """
    if isinstance(every, timedelta):
        length = (every.days * 86_400 + every.seconds) * 10**9 + every.microseconds * 1_000
    elif isinstance(every, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        parts = _INTERVAL.findall(every)
        if "".join(number + unit for number, unit in parts) != every or not parts:
            raise ValueError(f"invalid interval {every[:30]!r}; expected one such as 500ms, 1s, 5m, 1h or 1d")
        length = sum(int(number) * _UNITS[unit] for number, unit in parts)
    else:
        raise TypeError(f"an interval is text such as '1s' or a timedelta; got {type(every).__name__}")
    if length <= 0:
        raise ValueError(f"an interval must be longer than nothing; got {every!r}")
    return length
