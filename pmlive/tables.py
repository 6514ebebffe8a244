"""The tables: their columns and types, named here alone, the rolling frames, and the digest of their rows.

Every table begins with ``seq`` (arrival order), ``ts_event`` (the venue's clock), ``ts_recv`` (ours) and ``conn`` (the
connection epoch). Prices are dollars per share, sizes are shares. Times are nanoseconds, UTC. ``ts_event`` is null
where the venue said nothing (``gaps``, ``checks``); the ``ts_recv`` of a row of ``checks`` is the start of its minute.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar, cast

import polars as pl

from pmlive.errors import ProtocolError

__all__ = [
    "FEES",
    "LABELS",
    "LEVELS",
    "MARKETS",
    "NEVER_NULL",
    "ROLLING",
    "SCHEMAS",
    "STORED",
    "Digest",
    "Rolling",
    "labelled",
]

_Rows = TypeVar("_Rows", pl.DataFrame, pl.LazyFrame)

_TIME = pl.Datetime("ns", "UTC")
_SIDE = pl.Enum(["buy", "sell"])
_BOOK_SIDE = pl.Enum(["bid", "ask"])
_CHECK = pl.Enum(["verified", "unverifiable", "mismatch", "skipped"])
_CAUSE = pl.Enum(["disconnect", "overflow", "silence", "malformed", "disk", "restart", "late opening book", "mismatch"])
LEVELS = pl.List(pl.Float64)
_COMMON: dict[str, pl.DataType | type[pl.DataType]] = {
    "seq": pl.UInt64,
    "ts_event": _TIME,
    "ts_recv": _TIME,
    "conn": pl.UInt32,
}
_TOKEN: dict[str, pl.DataType | type[pl.DataType]] = {"token_id": pl.String, "market": pl.String}
_LADDERS: dict[str, pl.DataType | type[pl.DataType]] = {
    "bid_prices": LEVELS,
    "bid_sizes": LEVELS,
    "ask_prices": LEVELS,
    "ask_sizes": LEVELS,
}
_MAKER_ORDERS = pl.List(
    pl.Struct(
        {
            "order_id": pl.String,
            "token_id": pl.String,
            "outcome": pl.String,
            "outcome_index": pl.Int64,
            "side": pl.String,
            "price": pl.Float64,
            "matched_amount": pl.Float64,
            "fee_rate_bps": pl.Float64,
            "maker_address": pl.String,
        }
    )
)

SCHEMAS: dict[str, pl.Schema] = {
    "prices": pl.Schema(
        _COMMON
        | _TOKEN
        | {
            "best_bid": pl.Float64,
            "best_bid_size": pl.Float64,
            "best_ask": pl.Float64,
            "best_ask_size": pl.Float64,
            "mid": pl.Float64,
            "spread": pl.Float64,
        }
    ),
    "depth": pl.Schema(_COMMON | _TOKEN | _LADDERS),
    "book_snapshots": pl.Schema(
        _COMMON
        | _TOKEN
        | _LADDERS
        | {"hash": pl.String, "opening": pl.Boolean, "tick_size": pl.Float64, "last_trade_price": pl.Float64}
    ),
    # Every book as the recorder had it at the beginning of a part of the recording and at the end of a run, so that a
    # reader can begin at any of them. A ``stale`` book cannot be trusted; ``none`` is one that had not come or is gone.
    # A row that stands ``alone`` says what no other row does: that a whole book was older than changes before it, that
    # the hash of one did not fit, that a hash fitted in a gap, or that a market was resolved in one.
    "keyframes": pl.Schema(
        _COMMON
        | _TOKEN
        | _LADDERS
        | {
            "state": pl.Enum(["verified", "unverifiable", "stale", "none"]),
            "since": _TIME,
            "cause": _CAUSE,
            "detail": pl.String,
            "alone": pl.Boolean,
        }
    ),
    "book_deltas": pl.Schema(
        _COMMON
        | _TOKEN
        | {
            "side": _BOOK_SIDE,
            "price": pl.Float64,
            "size": pl.Float64,
            "best_bid": pl.Float64,
            "best_ask": pl.Float64,
            "check": _CHECK,
        }
    ),
    "trades": pl.Schema(
        _COMMON
        | _TOKEN
        | {
            "price": pl.Float64,
            "size": pl.Float64,
            "side": _SIDE,
            "fee_rate_bps": pl.Float64,
            "transaction_hash": pl.String,
            "sign_source": pl.Enum(["feed"]),
        }
    ),
    "market_events": pl.Schema(
        _COMMON
        | {
            "kind": pl.Enum(["tick_size_change", "new_market", "market_resolved"]),
            "token_id": pl.String,
            "market": pl.String,
            "old_tick_size": pl.Float64,
            "new_tick_size": pl.Float64,
            "winning_token_id": pl.String,
            "winning_outcome": pl.String,
            "payload": pl.String,
        }
    ),
    "user_orders": pl.Schema(
        _COMMON
        | {"id": pl.String}
        | _TOKEN
        | {
            "type": pl.String,
            "side": _SIDE,
            "price": pl.Float64,
            "original_size": pl.Float64,
            "size_matched": pl.Float64,
            "status": pl.String,
            "outcome": pl.String,
            "order_type": pl.String,
            "created_at": pl.String,
            "expiration": pl.String,
            "maker_address": pl.String,
            "associate_trades": pl.List(pl.String),
        }
    ),
    "user_trades": pl.Schema(
        _COMMON
        | {"id": pl.String}
        | _TOKEN
        | {
            "side": _SIDE,
            "price": pl.Float64,
            "size": pl.Float64,
            "status": pl.String,
            "outcome": pl.String,
            "fee_rate_bps": pl.Float64,
            "taker_order_id": pl.String,
            "trader_side": pl.String,
            "match_time": pl.String,
            "last_update": pl.String,
            "transaction_hash": pl.String,
            "bucket_index": pl.Int64,
            "maker_address": pl.String,
            "maker_orders": _MAKER_ORDERS,
        }
    ),
    "activity": pl.Schema(
        _COMMON
        | {"type": pl.String}
        | _TOKEN
        | {
            "price": pl.Float64,
            "size": pl.Float64,
            "side": _SIDE,
            "event_slug": pl.String,
            "slug": pl.String,
            "title": pl.String,
            "outcome": pl.String,
            "outcome_index": pl.Int64,
            "proxy_wallet": pl.String,
            "name": pl.String,
            "pseudonym": pl.String,
            "bio": pl.String,
            "icon": pl.String,
            "profile_image": pl.String,
            "transaction_hash": pl.String,
        }
    ),
    "reference_prices": pl.Schema(
        _COMMON
        | {
            "topic": pl.String,
            "symbol": pl.String,
            "value": pl.Float64,
            "full_accuracy_value": pl.String,
            "received_at": _TIME,
            "window_seconds": pl.Int64,
            "is_carried_forward": pl.Boolean,
            "source": pl.String,
            "snapshot": pl.Boolean,
        }
    ),
    "gaps": pl.Schema(
        _COMMON | {"token_id": pl.String, "started": _TIME, "ended": _TIME, "cause": _CAUSE, "detail": pl.String}
    ),
    "checks": pl.Schema(
        _COMMON
        | {
            "token_id": pl.String,
            "hash_verified": pl.UInt32,
            "hash_unverifiable": pl.UInt32,
            "hash_mismatch": pl.UInt32,
            "bbo_ok": pl.UInt32,
            "bbo_mismatch": pl.UInt32,
            "snapshot_ok": pl.UInt32,
            "snapshot_mismatch": pl.UInt32,
        }
    ),
}

# What names a token beside its id, where a reader asks for it: no file has these columns. ``activity`` and the tables
# of the user have the venue's own ``slug`` or ``outcome``, which stay as they came.
LABELS: tuple[str, ...] = ("slug", "outcome")

FEES: dict[str, pl.DataType | type[pl.DataType]] = {
    "enabled": pl.Boolean,
    "rate": pl.Float64,
    "exponent": pl.Float64,
    "taker_only": pl.Boolean,
    "rebate_rate": pl.Float64,
    "kind": pl.String,
    "maker_base_fee_bps": pl.Float64,
    "taker_base_fee_bps": pl.Float64,
}
# The tokens of a recording, a row for each, as they were known when they were recorded; ``winner`` is an outcome.
MARKETS = pl.Schema(
    {
        "token_id": pl.String,
        "market": pl.String,
        "slug": pl.String,
        "outcome": pl.String,
        "question": pl.String,
        "event_slug": pl.String,
        "tick_size": pl.Float64,
        "min_order_size": pl.Float64,
        "neg_risk": pl.Boolean,
        "fees": pl.Struct(FEES),
        "end_date": _TIME,
        "resolved": pl.Boolean,
        "winner": pl.String,
        "version": pl.String,
    }
)

# What every row has, and what readers need of a row of each table; other columns may be null.
_ALWAYS = ("seq", "ts_recv", "conn")
_BOOK = ("token_id", "bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
_NEEDED = {
    "prices": ("token_id",),
    "depth": _BOOK,
    "book_snapshots": (*_BOOK, "opening"),
    "keyframes": (*_BOOK, "state", "alone"),
    "book_deltas": ("token_id", "side", "price", "size", "check"),
    "trades": ("token_id", "price", "size"),
    "gaps": ("started", "cause"),
    "checks": ("token_id", *(name for name, dtype in SCHEMAS["checks"].items() if dtype == pl.UInt32)),
}
NEVER_NULL: dict[str, tuple[str, ...]] = {
    table: tuple(dict.fromkeys((*_ALWAYS, *_NEEDED.get(table, ())))) for table in SCHEMAS
}

# ``depth`` is a view of live books; a recording has the books themselves.
STORED: tuple[str, ...] = tuple(name for name in SCHEMAS if name != "depth")
ROLLING: tuple[str, ...] = (
    "prices",
    "depth",
    "trades",
    "gaps",
    "user_orders",
    "user_trades",
    "market_events",
    "activity",
    "reference_prices",
)


def labelled(rows: _Rows, names: Mapping[str, tuple[str, str]]) -> _Rows:
    """Return rows with the columns of ``LABELS`` after ``token_id``, null where a token has no name yet.

    Columns of these names that are there stay as they are, and rows without ``token_id`` are returned unchanged.

    Args:
        rows: rows of a table, or made of them.
        names: the slug and the outcome of each token.
    """
    columns = rows.collect_schema().names()
    own = [name for name in LABELS if name not in columns]
    if "token_id" not in columns or not own:
        return rows
    at = columns.index("token_id") + 1
    texts = {name: {token: named[place] or None for token, named in names.items()} for place, name in enumerate(LABELS)}
    made = [
        pl.col("token_id").replace_strict(texts[name], default=None, return_dtype=pl.Categorical).alias(name)
        for name in own
    ]
    return rows.with_columns(made).select(*columns[:at], *own, *columns[at:])


# After this many chunks the last ones are joined into one, so that reading a rolling frame stays cheap.
_JOINED = 64


class Rolling:
    """The last rows of one table, bounded by their number and by the age of ``ts_recv``."""

    def __init__(self, table: str, *, rows: int, age: timedelta) -> None:
        self._empty = SCHEMAS[table].to_frame()
        self._rows = rows
        self._age_ns = age // timedelta(microseconds=1) * 1_000
        self._chunks: list[pl.DataFrame] = []
        self._height = 0
        # How many of the last chunks are not joined.
        self._loose = 0
        # How many rows were added in all.
        self.added = 0

    def extend(self, frame: pl.DataFrame) -> None:
        """Add rows that are newer than all others."""
        self._chunks.append(frame)
        self._height += frame.height
        self.added += frame.height
        self._loose += 1
        if self._loose == _JOINED:
            self._chunks[-_JOINED:] = [pl.concat(self._chunks[-_JOINED:], rechunk=True)]
            self._loose = 0
        while self._height - self._chunks[0].height >= self._rows:
            self._height -= self._chunks.pop(0).height
            self._loose = min(self._loose, len(self._chunks))

    def frame(self, now: int) -> pl.DataFrame:
        """Return the rows within the bounds at a time (nanoseconds since 1970)."""
        if not self._chunks:
            return self._empty
        whole = _joined(self._chunks).tail(self._rows)
        times, oldest = whole["ts_recv"].to_physical(), now - self._age_ns
        if whole.height and cast("int", times.min()) < oldest:
            whole = whole.filter(times >= oldest)
        self._chunks, self._height, self._loose = [whole], whole.height, 0
        return whole

    def since(self, added: int) -> pl.DataFrame:
        """Return the rows added after the first ``added`` as far as they are kept, without joining the others."""
        missing, found = self.added - added, 0
        chunks: list[pl.DataFrame] = []
        for chunk in reversed(self._chunks):
            if found >= missing:
                break
            chunks.append(chunk)
            found += chunk.height
        return _joined(chunks[::-1]).tail(missing) if chunks else self._empty


class Digest:
    """The digest of the rows of all tables: equal for the same rows, however they were batched, compressed or filed.

    Each table's rows are added in order of ``seq``.
    """

    def __init__(self) -> None:
        self._hashes = {table: hashlib.sha256() for table in STORED}
        self._last = dict.fromkeys(STORED, -1)
        self.rows = dict.fromkeys(STORED, 0)

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows of a table.

        Raises:
            ProtocolError: a row belongs before one that was added earlier.
        """
        if not frame.height:
            return
        ordered = frame.select(SCHEMAS[table].names()).sort("seq", maintain_order=True)
        first, last = ordered["seq"][0], ordered["seq"][-1]
        if first <= self._last[table]:
            raise ProtocolError(
                f"row {first} of {table!r} comes after row {self._last[table]}; its digest is not defined"
            )
        self._last[table] = last
        self.rows[table] += ordered.height
        # One line of JSON per row: a number's text is exact, and nothing depends on how rows are batched.
        self._hashes[table].update(ordered.write_ndjson().encode())

    def hexdigest(self) -> str:
        """Return the digest of everything that was added: 64 hexadecimal digits."""
        whole = hashlib.sha256()
        for table in STORED:
            whole.update(f"{table} {self.rows[table]} {self._hashes[table].hexdigest()}\n".encode())
        return whole.hexdigest()


def _joined(chunks: list[pl.DataFrame]) -> pl.DataFrame:
    return chunks[0] if len(chunks) == 1 else pl.concat(chunks, rechunk=True)
