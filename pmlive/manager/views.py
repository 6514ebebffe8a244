"""What a manager shows of itself: a book to look at, and its status."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Literal, TypeAlias

import msgspec
import polars as pl

from pmlive.errors import BookError
from pmlive.events import epoch_ns
from pmlive.integrity import Counts
from pmlive.manager.live import Live
from pmlive.manager.subscriptions import Subscription
from pmlive.pipeline import Token

__all__ = ["AwaitedError", "BookView", "status", "view"]


class AwaitedError(BookError):
    """The opening book of a token is on its way."""


BookState: TypeAlias = Literal["verified", "unverifiable"]


class BookView(msgspec.Struct, frozen=True, kw_only=True):
    """A trusted book at one moment: levels are (price in dollars per share, size in shares), best first.

    ``state`` is ``verified`` when the venue's hash of this token's books can be reproduced. Empty sides have no price.
    """

    token_id: str
    market: str
    label: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    state: BookState
    ts_event: datetime
    ts_recv: datetime

    @property
    def best_bid(self) -> float | None:
        """Give the highest bid, or None."""
        return self.bids[0][0] if self.bids else None

    @property
    def best_ask(self) -> float | None:
        """Give the lowest ask, or None."""
        return self.asks[0][0] if self.asks else None

    @property
    def mid(self) -> float | None:
        """Give the middle of the best prices, or None where a side is empty."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return round((self.best_bid + self.best_ask) / 2, 6)

    @property
    def spread(self) -> float | None:
        """Give best ask less best bid, or None where a side is empty."""
        if self.best_bid is None or self.best_ask is None:
            return None
        return round(self.best_ask - self.best_bid, 6)

    def frame(self) -> pl.DataFrame:
        """Give the levels as rows of side, price and size, best first."""
        rows = [("bid", *level) for level in self.bids] + [("ask", *level) for level in self.asks]
        schema = {"side": pl.Enum(["bid", "ask"]), "price": pl.Float64, "size": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def __repr__(self) -> str:
        """Show the top in one line."""
        return f"<Book of {self.label}: {self.best_bid} bid, {self.best_ask} ask, {self.state}>"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{bid}</td><td>{ask}</td></tr>"
            for bid, ask in zip(_lines(self.bids), _lines(self.asks), strict=False)
        )
        caption = f"{escape(self.label)} ({self.state})"
        return f"<table><caption>{caption}</caption><tr><th>bid</th><th>ask</th></tr>{cells}</table>"


def _lines(levels: Sequence[tuple[float, float]], most: int = 10) -> list[str]:
    lines = [f"{price:g} x {size:,.2f}" for price, size in levels[:most]]
    return lines + [""] * (most - len(lines))


def view(token: Token, label: str, depth: int | None) -> BookView:
    """Copy a book.

    Raises:
        BookError: the book cannot be trusted now.
    """
    if token.gap is not None:
        since = _time(token.gap.started).isoformat(timespec="milliseconds")
        raise BookError(
            f"the book of {label} cannot be trusted since {since} ({token.gap.cause}: {token.gap.detail}); "
            "it is back after the next snapshot"
        )
    if not token.conn:
        raise AwaitedError(f"the book of {label} has not come yet; try again in a moment")
    return BookView(
        token_id=token.id,
        market=token.market,
        label=label,
        bids=token.book.levels("bid", depth),
        asks=token.book.levels("ask", depth),
        state="verified" if token.proof.established else "unverifiable",
        ts_event=_time(epoch_ns(token.timestamp)),
        ts_recv=_time(token.heard),
    )


def status(live: Live | None, subscriptions: Sequence[Subscription], *, running: bool) -> dict[str, object]:
    """Describe connections, subscriptions and statistics, as JSON can hold it."""
    if live is not None:
        live.desk.flush()
    by_type: dict[str, int] = {}
    for subscription in subscriptions:
        by_type[subscription.type] = by_type.get(subscription.type, 0) + 1
    return {
        "connections": _connections(live),
        "subscriptions": {
            "total": len(subscriptions),
            "by_type": by_type,
            "active": [subscription.to_dict() for subscription in subscriptions],
        },
        "statistics": _statistics(live),
        "background_task": {"running": running, "task_exists": live is not None},
        "books": {} if live is None else _books(live),
        "recording": _recording(live),
    }


def _connections(live: Live | None) -> dict[str, object]:
    if live is None:
        nothing = {"connected": False, "url": None, "open": 0, "sockets": 0, "error": None, "given_up": False}
        return {"clob": nothing | {"authenticated": False}, "realtime": dict(nothing)}
    clob = _connection(live, ("market", "user"))
    clob["authenticated"] = any(one.connected and one.session.useful for one in live.pool.of("user"))
    return {"clob": clob, "realtime": _connection(live, ("realtime", "prices"))}


def _connection(live: Live, channels: tuple[Literal["market", "user", "realtime", "prices"], ...]) -> dict[str, object]:
    connections = [one for channel in channels for one in live.pool.of(channel)]
    errors = [str(live.errors[channel]) for channel in channels if channel in live.errors]
    return {
        "connected": any(one.connected for one in connections),
        "url": live.urls[channels[0]],
        "open": sum(one.connected for one in connections),
        "sockets": len(connections),
        "error": "; ".join(errors) or next((one.last_error for one in connections if one.last_error), None),
        # True when dialling again cannot help: the credentials or the certificate were refused.
        "given_up": bool(errors),
    }


def _statistics(live: Live | None) -> dict[str, object]:
    connections = [] if live is None else live.pool.connections
    counts = {} if live is None else dict(live.desk.pipeline.counts)
    total = sum(number for name, number in counts.items() if name != "control")
    last = None if live is None or live.last_reconnect is None else _time(live.last_reconnect).isoformat()
    return {
        "total_events": total,
        "events_by_type": counts,
        "connection_errors": sum(one.errors for one in connections) + (0 if live is None else live.pool.past_errors),
        "reconnect_count": 0 if live is None else live.reconnects,
        "last_reconnect": last,
        "dials": sum(one.dials for one in connections) + (0 if live is None else live.pool.past_dials),
        "unknown_kinds": {} if live is None else dict(live.desk.pipeline.unknown),
    }


def _books(live: Live) -> dict[str, object]:
    books = live.desk.pipeline.books
    counts = Counts()
    for token in books.tokens.values():
        counts.add(token.total)
        counts.add(token.counts)
    return {
        "tokens": len(books.tokens),
        "trusted": sum(token.trusted() for token in books.tokens.values()),
        "open_gaps": len(live.desk.pipeline.open_gaps()),
        "checks": msgspec.to_builtins(counts),
        "duplicates": books.duplicates,
        "out_of_order": books.late,
        "before_snapshot": books.early,
    }


def _recording(live: Live | None) -> object:
    if live is None or live.desk.recorder is None:
        return None
    return msgspec.to_builtins(live.desk.recorder.status())


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC)
