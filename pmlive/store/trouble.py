"""What is wrong with the disk now, said once per episode."""

import time

from pmlive.errors import StoreError
from pmlive.logs import get_logger

__all__ = ["Trouble"]

logger = get_logger(__name__)


class Trouble:
    """The state of one part of the recorder: None while it works, else what happened last."""

    def __init__(self, folder: str, part: str) -> None:
        self._folder = folder
        self._part = part
        self.message: str | None = None
        self._since = 0.0

    def lasts(self, seconds: float, *, since: float) -> bool:
        """Tell whether it has been tried in vain for so long, counted from a time (``monotonic``) or its beginning."""
        return self.message is not None and time.monotonic() - max(since, self._since) > seconds

    def note(self, error: BaseException) -> None:
        """Say that something failed and is tried again; log it when it is the first time."""
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
    # Only what the disk or a file is the cause of is told in a sentence; of all else the kind matters.
    return str(error) if isinstance(error, OSError | StoreError) else repr(error)
