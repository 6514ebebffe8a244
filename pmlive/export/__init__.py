"""Recordings for other tools: arrays for hftbacktest, a catalogue of nautilus_trader, CSV files, a DuckDB database."""

from pmlive.export.hftbacktest import to_hftbacktest
from pmlive.export.nautilus import to_nautilus
from pmlive.export.output import Exported, ExportedFile, ExportedToken, SkippedToken, to_csv, to_duckdb

__all__ = [
    "Exported",
    "ExportedFile",
    "ExportedToken",
    "SkippedToken",
    "to_csv",
    "to_duckdb",
    "to_hftbacktest",
    "to_nautilus",
]
