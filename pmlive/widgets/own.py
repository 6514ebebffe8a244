"""The user's own orders and fills in a chart, continued by the messages of the user's channel, without a widget.

An order rests from the message that it was placed, or the first that is known of it, until it is cancelled or filled.
Messages that were missed while the user's channel was not connected do not come again, so an order is drawn up to the
beginning of such a gap, and again from the next message of it on.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypedDict, cast

import numpy as np
import polars as pl

from pmlive.widgets.views import Numbers

__all__ = [
    "BUYS",
    "END",
    "FAILED",
    "OWN_ROWS",
    "PRICE",
    "SINCE",
    "Own",
    "OwnView",
    "append_own",
    "latest",
]

# The arrays of a view that grow; a row that has the number of one before replaces it.
OWN_ROWS: Final = ("orders", "fills")
# The columns of an order: its number, since when (milliseconds since 1970) it rests and until when (NaN while it
# does), its price (dollars a share), and whether it buys. A fill has its size (shares) where an order has its end, and
# one more column: 1 if it failed to settle.
NUMBER, SINCE, END, PRICE, BUYS, FAILED = range(6)

_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_ORDER_COLUMNS, _FILL_COLUMNS = 5, 6
_ORDERS = ("ts_recv", "conn", "id", "token_id", "type", "side", "price", "original_size", "size_matched", "status")
_TRADES = ("ts_recv", "id", "token_id", "side", "price", "size", "status", "trader_side", "maker_orders")
_OVER = frozenset({"MATCHED", "INVALID"})


class OwnView(TypedDict):
    """Rows of orders and fills that are new, or that changed."""

    orders: Numbers
    fills: Numbers


class Own:
    """The user's orders and fills of one token."""

    def __init__(self, token_id: str) -> None:
        self.token_id = token_id
        # By id: orders of all tokens, since a trade names only their ids.
        self._ids: set[str] = set()
        self._resting: dict[str, tuple[int, int]] = {}
        self._orders: list[list[float]] = []
        self._fills: dict[tuple[str, str], list[float]] = {}
        # How many gaps there were, and when the last began, when they were looked at.
        self._looked: tuple[int, object] = 0, None

    def take(self, orders: pl.DataFrame, trades: pl.DataFrame, gaps: pl.DataFrame) -> OwnView:
        """Take the messages that came; return what is new or was changed by them, or by gaps of their connections."""
        gaps_now = gaps.height, gaps["started"].max()
        is_known = gaps_now == self._looked or not self._resting
        self._looked = gaps_now
        if orders.is_empty() and trades.is_empty() and is_known:
            return {"orders": np.empty((0, _ORDER_COLUMNS)), "fills": np.empty((0, _FILL_COLUMNS))}
        changed: dict[int, None] = {}
        lost = _lost_of(gaps)
        for row in orders.select(_ORDERS).iter_rows(named=True):
            self._cut(lost, changed, until=_ms(row["ts_recv"]))
            self._take_order(row, changed)
        self._cut(lost, changed)
        fills: dict[tuple[str, str], None] = {}
        for row in trades.select(_TRADES).iter_rows(named=True):
            fills |= dict.fromkeys(self._take_trade(row))
        return {
            "orders": np.array([self._orders[at] for at in changed]).reshape(-1, _ORDER_COLUMNS),
            "fills": np.array([self._fills[key] for key in fills]).reshape(-1, _FILL_COLUMNS),
        }

    def _take_order(self, row: Mapping[str, object], changed: dict[int, None]) -> None:
        name, now = str(row["id"]), _ms(row["ts_recv"])
        self._ids.add(name)
        if row["token_id"] != self.token_id:
            return
        is_over = _is_over(row)
        if name in self._resting:
            at, _ = self._resting.pop(name)
        elif is_over:
            # It was filled or killed at once, and never rested.
            return
        else:
            at = len(self._orders)
            self._orders.append([float(at), now, np.nan, _number(row["price"]), float(row["side"] == "buy")])
        changed[at] = None
        if is_over:
            self._orders[at][END] = now
        else:
            self._resting[name] = at, _whole(row["conn"])

    def _cut(self, lost: Mapping[int, list[float]], changed: dict[int, None], until: float = np.inf) -> None:
        """End the orders whose connection was lost since they were heard of, before a time."""
        if not lost:
            return
        for name, (at, conn) in tuple(self._resting.items()):
            begun = [start for start in lost.get(conn, ()) if self._orders[at][SINCE] <= start <= until]
            if begun:
                self._orders[at][END] = min(begun)
                changed[at] = None
                del self._resting[name]

    def _take_trade(self, row: Mapping[str, object]) -> Iterable[tuple[str, str]]:
        """Return the keys of the fills that a trade tells of."""
        for order_id, token_id, side, price, size in _parts(row, self._ids):
            if token_id != self.token_id:
                continue
            key = str(row["id"]), order_id
            fill = self._fills.setdefault(
                key, [float(len(self._fills)), _ms(row["ts_recv"]), size, price, float(side == "buy"), 0.0]
            )
            fill[FAILED] = float(str(row["status"]).endswith("FAILED"))
            yield key


def append_own(before: Numbers, new: Numbers, *, most: int) -> Numbers:
    """Append rows to those of the view before, of which they replace those with the same number."""
    return latest(np.concatenate([before, new]))[-most:]


def latest(rows: Numbers) -> Numbers:
    """Keep the last row of each number, in order of the numbers."""
    _, from_end = np.unique(rows[::-1, NUMBER], return_index=True)
    return rows[len(rows) - 1 - from_end]


def _is_over(row: Mapping[str, object]) -> bool:
    """Check whether an order rests no more."""
    status, size = str(row["status"]), _number(row["original_size"])
    is_filled = size > 0 and _number(row["size_matched"]) >= size
    return row["type"] == "CANCELLATION" or is_filled or status in _OVER or status.startswith("CANCELED")


def _parts(row: Mapping[str, object], own: set[str]) -> Iterable[tuple[str, str, str, float, float]]:
    """Return order, token, side, price and size of what was filled: as taker the trade, as maker the user's orders."""
    if row["trader_side"] != "MAKER":
        side = str(row["side"])
        yield "", str(row["token_id"]), side, _number(row["price"]), _number(row["size"])
        return
    orders = cast("list[dict[str, object]]", row["maker_orders"] or [])
    known = [order for order in orders if order["order_id"] in own]
    # Of a trade with one maker that is the user, whether the order is known or not.
    for order in known or (orders if len(orders) == 1 else []):
        side = str(order["side"]).lower()
        token_id = str(order["token_id"] or row["token_id"])
        yield str(order["order_id"]), token_id, side, _number(order["price"]), _number(order["matched_amount"])


def _lost_of(gaps: pl.DataFrame) -> dict[int, list[float]]:
    """Return when each connection was lost, in milliseconds."""
    found: dict[int, list[float]] = {}
    whole = gaps.filter(gaps["token_id"].is_null() & (gaps["conn"] > 0))
    for conn, started in whole.select("conn", pl.col("started").dt.epoch("ns")).iter_rows():
        found.setdefault(conn, []).append(started / 1e6)
    return found


def _ms(time: object) -> float:
    """Return a time as milliseconds since 1970."""
    if not isinstance(time, datetime):
        raise TypeError(f"a time of a message is a datetime; got {type(time).__name__}")
    return (time - _EPOCH) / _MS


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
