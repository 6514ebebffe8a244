"""What a recorder may be told, and what it tells."""

import msgspec

__all__ = ["GRACE", "RecorderOptions", "RecorderStatus"]

# Seconds for which a file that was replaced can still be read.
GRACE = 600.0


class RecorderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How often, how much: seconds and bytes. The defaults are what the documentation promises.

    ``merge_files`` small neighbours of a table are merged, or fewer that are ``merge_seconds`` apart, into files of
    ``merge_rows`` and ``merge_bytes`` at most; with 0 of them none are. Inputs stay readable for ``grace``. Raw frames
    are given up after ``keep_raw``, by default never.
    """

    commit: float = 0.05
    sync: float = 1.0
    retry: float = 1.0
    patience: float = 3.0
    memory: int = 64 << 20
    rows_memory: int = 256 << 20
    segment_seconds: float = 300.0
    segment_rows: int = 250_000
    segment_bytes: int = 64 << 20
    raw_level: int = 1
    merge_files: int = 8
    merge_seconds: float = 3600.0
    merge_rows: int = 2_000_000
    merge_bytes: int = 64 << 20
    grace: float = GRACE
    keep_raw: float | None = None


class RecorderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the recording goes: ``lag`` is the seconds that the oldest unwritten data has waited."""

    folder: str
    rows: dict[str, int]
    frames: int
    bytes: int
    files: int
    segments: int
    pending_bytes: int
    lag: float
    last_sync: int | None
    dropped: int
    trouble: str | None
