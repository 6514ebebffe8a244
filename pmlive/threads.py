"""The threads of this package, each with the same guard at its top, and the faults that it caught.

Whatever a thread raises, be it a lack of memory or an internal error, is kept for ``Manager.status()``, logged, and
then the thread goes on, or ends where it cannot. No thread ends in silence.
"""

import threading
import time
from collections.abc import Callable

import msgspec

from pmlive import logs
from pmlive.times import moment

__all__ = ["ThreadFault", "faults", "keep_fault", "note_fault", "repeating", "single"]

logger = logs.get_logger(__name__)

# A thread that fails at once each time must not fill the log, nor keep a processor busy.
_PAUSE_S = 1.0
# The same failure is logged this often, and then only each hundredth time.
_LOGGED, _LOGGED_EACH = 10, 100


class ThreadFault(msgspec.Struct, frozen=True, kw_only=True):
    """A failure of a thread of this process: how often, and when and how the last time."""

    thread: str
    error: str
    times: int
    last: str


_faults: dict[str, ThreadFault] = {}


def repeating(name: str, turn: Callable[[], bool], *, pause: float = _PAUSE_S) -> threading.Thread:
    """Make a daemon thread that takes turn after turn until one returns False.

    A turn that raises is noted, and the next one follows after ``pause`` seconds.
    """

    def run() -> None:
        logs.claim_thread()
        while not _turns_ended(name, turn):
            threading.Event().wait(pause)

    return threading.Thread(target=run, name=name, daemon=True)


def single(name: str, work: Callable[[], object], *, daemon: bool = True) -> threading.Thread:
    """Make a thread that does one thing; what it raises is noted, and the thread ends."""

    def run() -> None:
        logs.claim_thread()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the top of a thread
            note_fault(name, error)

    return threading.Thread(target=run, name=name, daemon=daemon)


def note_fault(name: str, error: BaseException) -> None:
    """Keep a failure for ``faults``, and log it unless it is the same again; this never raises."""
    try:
        before, text = _faults.get(name), repr(error)[:500]
        keep_fault(name, text)
        # The first few times, and then now and then: what fails each turn must not fill the log.
        times = 1 if before is None or before.error != text else _faults[name].times
        if times <= _LOGGED or times % _LOGGED_EACH == 0:
            logger.error("something failed in the thread %r: %s", name, text, exc_info=error)
    except Exception:  # noqa: BLE001  # there is no memory even to log it, or the error has no text
        logs.lose()


def keep_fault(name: str, text: str) -> None:
    """Keep a failure of a thread for ``faults``; the caller has logged it."""
    before, last = _faults.get(name), moment(time.time_ns()).isoformat(timespec="milliseconds")
    _faults[name] = ThreadFault(thread=name, error=text, times=1 if before is None else before.times + 1, last=last)


def faults() -> list[ThreadFault]:
    """List the failures of threads of this process, the last of each thread."""
    return list(_faults.values())


def _turns_ended(name: str, turn: Callable[[], bool]) -> bool:
    """Take turns until there are no more; False when one failed."""
    try:
        while turn():
            pass
    except BaseException as error:  # noqa: BLE001  # the top of a thread
        note_fault(name, error)
        return False
    return True
