"""The options of a recorder, its status, and the trouble that the status names."""

import time

import msgspec

from pmlive.errors import StoreError
from pmlive.logs import get_logger

__all__ = ["GRACE", "RecorderOptions", "RecorderStatus", "RecorderTrouble"]

logger = get_logger(__name__)

# Seconds for which a replaced file can still be read.
GRACE = 600.0


class RecorderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a recorder, in seconds and bytes; the defaults are what the documentation promises.

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
    """The state of a recording: ``lag`` is the seconds for which the oldest unwritten data has waited."""

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


class RecorderTrouble:
    """The trouble of one part of a recorder: ``message`` is None while it works, else the last failure.

    It is logged once per episode.
    """

    def __init__(self, folder: str, part: str) -> None:
        self._folder = folder
        self._part = part
        self.message: str | None = None
        self._since = 0.0

    def lasts(self, seconds: float, *, since: float) -> bool:
        """Return whether it has lasted for so long, from ``since`` (``monotonic``) or from its beginning if later."""
        return self.message is not None and time.monotonic() - max(since, self._since) > seconds

    def note(self, error: BaseException) -> None:
        """Note a failure, after which it is tried again; log the first one."""
        first, self.message = self.message is None, f"{self._part}: {_described(error)}"
        if first:
            self._since = time.monotonic()
            logger.error("recording %r: %s; trying again each second, nothing is lost yet", self._folder, self.message)

    def clear(self) -> None:
        """Note that it works again."""
        if self.message is not None:
            logger.warning("recording %r: resumed after: %s", self._folder, self.message)
            self.message = None


def _described(error: BaseException) -> str:
    # The message is enough where the disk or a file is the cause; of any other error the type matters.
    return str(error) if isinstance(error, OSError | StoreError) else repr(error)
