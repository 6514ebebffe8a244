"""The list of a recording's tokens as a table, ``markets.parquet``, for readers that know nothing of pmlive.

It is made of the manifest and of the resolutions that were sealed, so nothing is lost with it, and it is written again
whenever it would be another.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl

from pmlive.errors import StoreError
from pmlive.store import disk
from pmlive.store.manifest import Manifest, MarketEntry, SealedFile
from pmlive.store.reader import diagnosed
from pmlive.tables import FEES, MARKETS

__all__ = ["MARKETS_FILE", "MarketsFile"]

MARKETS_FILE = "markets.parquet"


class MarketsFile:
    """The file of one recording; sealed files are read once each.

    Args:
        folder: the recording.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: set[str] = set()
        self._winners: dict[str, str] = {}
        self._markets: list[MarketEntry] | None = None

    def write(self, manifest: Manifest) -> None:
        """Write the file, unless nothing changed that it tells.

        Raises:
            OSError: the disk did not take it.
            StoreError: a sealed file with resolutions is damaged.
        """
        if manifest.markets is self._markets and not self._unread(manifest):
            return
        data = BytesIO()
        self.rows(manifest).write_parquet(data)
        path = self._folder / MARKETS_FILE
        disk.replace(disk.write_temporary(path, self._folder, data.getvalue()), path, self._folder)
        disk.sync_folder(self._folder, self._folder)
        self._markets = manifest.markets

    def rows(self, manifest: Manifest) -> pl.DataFrame:
        """Return the rows that the file should have, one for each token, in the order of the manifest.

        Raises:
            StoreError: a sealed file with resolutions is damaged.
        """
        for file in self._unread(manifest):
            self._winners.update(self._resolutions(file))
            self._read.add(file.path)
        rows = [row for market in manifest.markets for row in _rows(market, self._winners)]
        return pl.DataFrame(rows, schema=MARKETS, orient="row")

    def problem(self, manifest: Manifest) -> str | None:
        """Return what is wrong with the file; None where it is as it should be, or was never written."""
        from pmlive.store import parquet

        try:
            is_right = parquet.read_columns(self._folder / MARKETS_FILE, self._folder).equals(self.rows(manifest))
        except FileNotFoundError:
            return None
        except (OSError, StoreError) as error:
            return f"cannot be read: {error}"
        return None if is_right else "does not say what the manifest and the resolutions say"

    def _unread(self, manifest: Manifest) -> list[SealedFile]:
        return [file for file in manifest.of("market_events") if file.path not in self._read]

    def _resolutions(self, file: SealedFile) -> Iterable[tuple[str, str]]:
        from pmlive.store import parquet

        with diagnosed(self._folder, ("market_events",)):
            path, columns = self._folder / file.path, ("kind", "market", "winning_outcome")
            events = parquet.read_columns(path, self._folder, columns).select(columns).iter_rows()
            return [(market, winner or "") for kind, market, winner in events if kind == "market_resolved"]


def _rows(market: MarketEntry, winners: dict[str, str]) -> Iterator[tuple[object, ...]]:
    """Return a row for each token; what a manifest has in a form that is not ours is null."""
    condition_id = _text(market, "condition_id") or ""
    outcomes, tokens = _texts(market, "outcomes"), _texts(market, "token_ids")
    for place, token_id in enumerate(tokens):
        yield (
            token_id,
            condition_id,
            _text(market, "slug"),
            outcomes[place] if place < len(outcomes) else None,
            _text(market, "question"),
            _text(market, "event_slug"),
            _number(market, "tick_size"),
            _number(market, "min_order_size"),
            _flag(market, "neg_risk"),
            _fees(market),
            _time(market, "end_date"),
            condition_id in winners,
            winners.get(condition_id) or None,
            _text(market, "version"),
        )


def _text(market: MarketEntry, name: str) -> str | None:
    value = market.get(name)
    return value if isinstance(value, str) and value else None


def _texts(market: MarketEntry, name: str) -> list[str]:
    try:
        return msgspec.convert(market.get(name), list[str])
    except msgspec.ValidationError:
        return []


def _flag(market: MarketEntry, name: str) -> bool | None:
    value = market.get(name)
    return value if isinstance(value, bool) else None


def _number(market: MarketEntry, name: str) -> float | None:
    value = market.get(name)
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None


def _time(market: MarketEntry, name: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(_text(market, name) or "")
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _fees(market: MarketEntry) -> dict[str, object] | None:
    try:
        fees = msgspec.convert(market.get("fees"), dict[str, object])
    except msgspec.ValidationError:
        return None
    return {name: fees.get(name) for name in FEES}
