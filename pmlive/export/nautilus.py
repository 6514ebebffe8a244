"""A recording as a data catalogue of nautilus_trader: an instrument, book changes and trades of each token.

An instrument is a ``BinaryOption`` named ``CONDITION-TOKEN.POLYMARKET``, as nautilus_trader's own adapter names it. Its
price increment is the finest of the token's tick sizes and of the prices that occur. Books are changes of total sizes
(``L2_MBP``): a snapshot is a ``CLEAR`` and its levels, flagged ``F_SNAPSHOT``; the last change of each moment has
``F_LAST``. Where a book could not be trusted it is cleared, until the next snapshot, as for hftbacktest. ``ts_event``
is the venue's time and ``ts_init`` ours, which nothing moves. The venue's fees depend on the price, which an
instrument cannot say: its fees are 0, and the schedule is in its ``info``.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from pmlive.errors import StoreError
from pmlive.export.hftbacktest import (
    BUY,
    CLEAR,
    KIND,
    SNAPSHOT,
    TokenRows,
    book_events_of,
    no_book,
    recorded_ends,
    recorded_rows,
    tick_size,
    tokens_of,
)
from pmlive.export.output import (
    Exported,
    ExportedFile,
    ExportedToken,
    SkippedToken,
    missing_files,
    new_folder,
    unsealed_bytes,
)
from pmlive.progress import Progress, reported, unwatched
from pmlive.recording.index import IndexCache
from pmlive.store import read_manifest
from pmlive.store.markets_file import MarketsFile
from pmlive.store.reader import diagnosed
from pmlive.times import DAY_NS, nanoseconds

__all__ = ["to_nautilus"]

_VENUE = "POLYMARKET"
_LAST, _SNAPSHOT = 128, 32
# Sizes are given to a millionth of a share.
_SIZE_DECIMALS = 6
_MOST_DECIMALS = 9
# Numbers of as many decimals differ by less.
_EXACT = 1e-10
# Changes that are converted at once.
_AT_ONCE = 200_000
# Of a market whose end is not known: this long after the last event.
_OPEN_END_NS = 3_650 * DAY_NS
_LONGEST_TRADE_ID = 36


def to_nautilus(
    folder: str | Path, out: str | Path, *, token_id: str | None = None, progress: Progress = unwatched
) -> Exported:
    """Write the books and trades of every token, or of one, as a ``ParquetDataCatalog`` into a new folder.

    It needs nautilus_trader, of the extra ``pmlive[nautilus]``. There, the catalogue is read again by
    ``ParquetDataCatalog(out).order_book_deltas()``, ``.trade_ticks()`` and ``.instruments()``.

    Args:
        folder: the recording.
        out: the folder to make.
        token_id: this token only.
        progress: called after each token with the number of those done, and of all.

    Raises:
        StoreError: nautilus_trader is not installed, the folder is not a recording, has no such token or no book, or
            ``out`` has something in it.
    """
    library = _Library()
    source, target = Path(folder), Path(out)
    missing = missing_files(source)
    with new_folder(target) as unfinished, diagnosed(source):
        converted = list(_converted(source, token_id, unfinished, library, progress))
        written = [one for one in converted if isinstance(one, ExportedToken)]
        skipped = [one for one in converted if isinstance(one, SkippedToken)]
        if not written:
            raise StoreError(no_book(source, skipped))
        files = list(_files(unfinished, target))
    return Exported(
        out=str(target),
        format="nautilus",
        files=files,
        tokens=written,
        skipped=skipped,
        unsealed=unsealed_bytes(source),
        missing=missing,
    )


def _converted(
    source: Path, wanted: str | None, into: Path, library: "_Library", progress: Progress
) -> Iterator[ExportedToken | SkippedToken]:
    ends, gaps = recorded_ends(source), IndexCache(source).current().gaps
    known = MarketsFile(source).rows(read_manifest(source)).rows_by_key("token_id", named=True, unique=True)
    for token in reported([(token, 1) for token in tokens_of(source, wanted)], progress):
        rows = recorded_rows(source, token, ends, gaps)
        if isinstance(rows, SkippedToken):
            yield rows
            continue
        market = known.get(token) or {"market": _condition_of(rows)}
        found = _Token(token, market, rows, tick_size(source, token, rows.snapshots))
        yield found.write(into, library) if found.has_book else SkippedToken(token, "no book of it could be trusted")


def _condition_of(rows: TokenRows) -> str:
    books = pl.concat([rows.snapshots.select("market"), rows.keyframes.select("market")])
    found = books["market"].drop_nulls()
    return str(found[0]) if len(found) else ""


def _files(unfinished: Path, target: Path) -> Iterator[ExportedFile]:
    for path in sorted(unfinished.rglob("*.parquet")):
        rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
        yield ExportedFile(path=str(target / path.relative_to(unfinished)), rows=rows, bytes=path.stat().st_size)


class _Library:
    """The parts of nautilus_trader that are needed."""

    def __init__(self) -> None:
        try:
            self.catalog = import_module("nautilus_trader.persistence.catalog.parquet")
        except ModuleNotFoundError as error:
            raise StoreError(
                "a catalogue of nautilus_trader needs nautilus_trader, which is not installed; "
                "run: pip install 'pmlive[nautilus]'"
            ) from error
        self.data, self.enums, self.ids, self.objects, self.instruments, self.currencies = (
            _part(name) for name in ("data", "enums", "identifiers", "objects", "instruments", "currencies")
        )


def _part(name: str) -> ModuleType:
    return import_module(f"nautilus_trader.model.{name}")


class _Token:
    """One token: what is known of its market, and what was recorded of it."""

    def __init__(self, token: str, market: Mapping[str, object], rows: TokenRows, tick: float | None) -> None:
        self._token = token
        self._market = market
        self._rows = rows
        self._events, self._breaks = book_events_of(rows)
        self._tick = tick or 0.01
        prices = np.concatenate([self._events["px"], rows.trades["price"].drop_nulls().to_numpy()])
        self._decimals = max(_decimals(np.array([self._tick])), _decimals(prices))
        self.name = f"{market.get('market')}-{token}.{_VENUE}"

    @property
    def has_book(self) -> bool:
        """Whether its book could be trusted at any time."""
        return len(self._events) > 0

    def write(self, into: Path, library: _Library) -> ExportedToken:
        catalog = library.catalog.ParquetDataCatalog(str(into))
        instrument_id = library.ids.InstrumentId.from_str(self.name)
        catalog.write_data([self._instrument(library, instrument_id)])
        for part in _parts(self._events):
            catalog.write_data(list(self._deltas(library, instrument_id, part)))
        trades = list(self._trades(library, instrument_id))
        if trades:
            catalog.write_data(trades)
        times = self._events["local_ts"]
        return ExportedToken(
            token_id=self._token,
            path=self.name,
            events=len(self._events) + len(trades),
            breaks=self._breaks,
            split=0,
            tick_size=self._tick,
            first_time=int(times.min()),
            last_time=int(times.max()),
        )

    def _instrument(self, library: _Library, instrument_id: object) -> object:
        market, last = self._market, int(self._events["local_ts"].max())
        price, quantity = library.objects.Price, library.objects.Quantity
        tick_decimals = _decimals(np.array([self._tick]))
        increment = self._tick if tick_decimals == self._decimals else 10.0**-self._decimals
        ends = market.get("end_date")
        least = market.get("min_order_size")
        return library.instruments.BinaryOption(
            instrument_id=instrument_id,
            raw_symbol=library.ids.Symbol(self._token),
            outcome=str(market.get("outcome") or ""),
            description=str(market.get("question") or ""),
            asset_class=library.enums.AssetClass.ALTERNATIVE,
            currency=library.currencies.USDC_POS,
            price_increment=price(increment, self._decimals),
            price_precision=self._decimals,
            size_increment=quantity(10.0**-_SIZE_DECIMALS, _SIZE_DECIMALS),
            size_precision=_SIZE_DECIMALS,
            activation_ns=0,
            expiration_ns=nanoseconds(ends) if ends is not None else last + _OPEN_END_NS,  # pyright: ignore[reportArgumentType]
            max_quantity=None,
            min_quantity=None if not isinstance(least, float) else quantity(least, _SIZE_DECIMALS),
            maker_fee=Decimal(0),
            taker_fee=Decimal(0),
            ts_event=int(self._events["local_ts"].min()),
            ts_init=int(self._events["local_ts"].min()),
            info={name: msgspec.to_builtins(value) for name, value in market.items()},
        )

    def _deltas(self, library: _Library, instrument_id: object, events: NDArray[np.void]) -> Iterator[object]:
        delta, order, action = library.data.OrderBookDelta, library.data.BookOrder, library.enums.BookAction
        price, quantity, decimals = library.objects.Price, library.objects.Quantity, self._decimals
        buy, sell = library.enums.OrderSide.BUY, library.enums.OrderSide.SELL
        recv = events["local_ts"]
        # The last event of each moment of ours.
        is_last = np.append(recv[1:] != recv[:-1], True)  # a value of an array
        kinds = events["ev"] & np.uint64(KIND)
        flags = np.where(is_last, _LAST, 0) | np.where((kinds == CLEAR) | (kinds == SNAPSHOT), _SNAPSHOT, 0)
        columns = (events["ev"], events["px"], events["qty"], events["exch_ts"], recv, flags, kinds)
        for ev, px, qty, exch, local, flag, kind in zip(*(each.tolist() for each in columns), strict=True):
            if kind == CLEAR:
                yield delta(instrument_id, action.CLEAR, None, flag, 0, exch, local)
                continue
            does = action.ADD if kind == SNAPSHOT else action.UPDATE if qty else action.DELETE
            level = order(buy if ev & BUY else sell, price(px, decimals), quantity(qty, _SIZE_DECIMALS), 0)
            yield delta(instrument_id, does, level, flag, 0, exch, local)

    def _trades(self, library: _Library, instrument_id: object) -> Iterator[object]:
        trade, side = library.data.TradeTick, library.enums.AggressorSide
        price, quantity, decimals = library.objects.Price, library.objects.Quantity, self._decimals
        sides = {"buy": side.BUYER, "sell": side.SELLER}
        columns = self._rows.trades.sort("ts_recv", "seq").select(
            "seq",
            pl.col("ts_event").fill_null(pl.col("ts_recv")).dt.epoch("ns"),
            pl.col("ts_recv").dt.epoch("ns"),
            "price",
            "size",
            pl.col("side").cast(pl.String),
            "transaction_hash",
        )
        for seq, exch, local, px, qty, whose, transaction in columns.iter_rows():
            name = f"{seq}-{(transaction or '').removeprefix('0x')}"[:_LONGEST_TRADE_ID].rstrip("-")
            yield trade(
                instrument_id,
                price(px, decimals),
                quantity(qty, _SIZE_DECIMALS),
                sides.get(whose, side.NO_AGGRESSOR),
                library.ids.TradeId(name),
                exch,
                local,
            )


def _parts(events: NDArray[np.void]) -> Iterator[NDArray[np.void]]:
    """Cut events between two moments, so that the times of no two parts overlap."""
    recv: NDArray[np.int64] = events["local_ts"]
    begin = 0
    while begin < len(events):
        end = min(begin + _AT_ONCE, len(events))
        end = int(np.searchsorted(recv, int(recv[end - 1]), side="right"))
        yield events[begin:end]
        begin = end


def _decimals(values: NDArray[np.float64]) -> int:
    """Return how many decimals values have, at least one."""
    for decimals in range(1, _MOST_DECIMALS):
        if (np.abs(np.round(values, decimals) - values) < _EXACT).all():
            return decimals
    return _MOST_DECIMALS
