"""Recordings for other tools: arrays for hftbacktest, CSV files, a DuckDB database."""

from pmlive.export.hftbacktest import to_hftbacktest
from pmlive.export.output import Exported, ExportedFile, ExportedToken, SkippedToken
from pmlive.export.tabular import to_csv, to_duckdb

__all__ = [
    "Exported",
    "ExportedFile",
    "ExportedToken",
    "SkippedToken",
    "to_csv",
    "to_duckdb",
    "to_hftbacktest",
]
