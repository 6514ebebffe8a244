"""Events as hftbacktest 2 has them, in the two orders that it walks through them.

It does so once for the exchange and once for us, and wants both times sorted. As its own converters do, an event that
came later than a newer one is told twice: to the exchange where its time is, to us where it came. At one time of the
exchange trades go before changes of the book: those take the traded size away already, and a queue must not shrink
twice.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BUY",
    "CLEAR",
    "DEPTH",
    "EVENT",
    "EXCHANGE",
    "LOCAL",
    "SELL",
    "SNAPSHOT",
    "TRADE",
    "array",
    "in_both_orders",
    "joined",
]

EVENT = np.dtype(
    [
        ("ev", "u8"),
        ("exch_ts", "i8"),
        ("local_ts", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("order_id", "u8"),
        ("ival", "i8"),
        ("fval", "f8"),
    ],
    align=True,
)

# hftbacktest's DEPTH_EVENT, TRADE_EVENT, DEPTH_CLEAR_EVENT and DEPTH_SNAPSHOT_EVENT, and its flags beside them.
DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
_KIND = 0xFF


def array(
    ev: NDArray[np.uint64] | int,
    exch_ts: NDArray[np.int64] | int,
    local_ts: NDArray[np.int64] | int,
    px: NDArray[np.float64],
    qty: NDArray[np.float64],
) -> NDArray[np.void]:
    """Make events, as many as there are prices, that are neither the exchange's nor ours yet."""
    made = np.zeros(len(px), EVENT)
    for name, values in (("ev", ev), ("exch_ts", exch_ts), ("local_ts", local_ts), ("px", px), ("qty", qty)):
        made[name] = values
    return made


def joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Put events after one another."""
    return np.concatenate([np.zeros(0, EVENT), *parts])


def in_both_orders(events: NDArray[np.void]) -> tuple[NDArray[np.void], int]:
    """Put events that are in order of arrival where both walks find them in order; tell how many are told twice."""
    if not len(events):
        return events, 0
    times: NDArray[np.int64] = 2 * events["exch_ts"] + ((events["ev"] & _KIND) != TRADE)
    newest = np.maximum.accumulate(times)
    late = np.flatnonzero(times < newest)
    ours, theirs = events.copy(), events[late]
    ours["ev"] |= np.uint64(EXCHANGE | LOCAL)
    ours["ev"][late] ^= np.uint64(EXCHANGE)
    theirs["ev"] |= np.uint64(EXCHANGE)
    # Each late one goes before the first event that is newer than it, and there before that event.
    place = np.concatenate([np.searchsorted(newest, times[late], side="right"), np.arange(len(events))])
    is_ours = np.concatenate([np.zeros(len(late), bool), np.ones(len(events), bool)])
    order = np.lexsort((np.concatenate([times[late], times]), is_ours, place))
    return np.concatenate([theirs, ours])[order], len(late)
