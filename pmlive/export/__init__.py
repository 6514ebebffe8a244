"""Recordings for other tools: arrays for hftbacktest, CSV files, a DuckDB database."""

from pmlive.export.csv_files import to_csv
from pmlive.export.duckdb_file import to_duckdb
from pmlive.export.hft import to_hftbacktest
from pmlive.export.report import Exported, ExportedFile, ExportedToken, SkippedToken

__all__ = [
    "Exported",
    "ExportedFile",
    "ExportedToken",
    "SkippedToken",
    "to_csv",
    "to_duckdb",
    "to_hftbacktest",
]
