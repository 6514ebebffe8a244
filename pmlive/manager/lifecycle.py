"""The life of what a manager holds: threads, sockets, a locked folder, until it is closed or nothing refers to it.

They would outlive the notebook cell that made them each time that it is run again. So they do not refer to their
manager, and are closed once it is gone. Finalizers may run in the middle of any code, so the work is done in a thread
of its own; a Ctrl-C while that is waited for leaves nothing half done.

Signals belong to the program. SIGTERM, which by default ends one at once and without its last work, is like a kill to a
recording: what was received is in its log, and the next start seals it.
"""

import atexit
import gc
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pmlive.errors import FeedError, StoreError
from pmlive.logs import get_logger
from pmlive.manager.engine import Engine
from pmlive.markets import Market
from pmlive.markets import find as find_at
from pmlive.pipeline.journal import rebuild
from pmlive.settings import Venue, data_dir
from pmlive.store import Recorder, RecorderOptions
from pmlive.threads import single

if TYPE_CHECKING:
    from pmlive.manager.core import Manager
    from pmlive.sim import SimulatedVenue

__all__ = ["Lifecycle", "close_all", "find", "managers", "the_end", "venue_here"]

T = TypeVar("T")
logger = get_logger(__name__)


# Set when the program ends: what is said to a notebook from then on reaches nobody.
the_end = Event()


_last_work: list[Callable[[], object]] = []


def in_thread(work: Callable[[], T], publish: "Callable[[Future[T] | None], object]" = lambda _: None) -> "Future[T]":
    """Run a function that no Ctrl-C interrupts, and that the end of the program waits for.

    Args:
        work: the function.
        publish: called with the future before anything begins, and with None if Ctrl-C comes before the function does.
    """
    done: Future[T] = Future()

    def run() -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  # it is raised where this is waited for
            done.set_exception(error)

    try:
        publish(done)
        single("pmlive end", run, daemon=False).start()
    except RuntimeError:
        # The program has come so far that no thread can be started any more.
        run()
    except BaseException:
        # While a thread starts, Ctrl-C does not tell whether it will run.
        if done.cancel():
            publish(None)
        raise
    return done


def before_the_end(work: Callable[[], object]) -> None:
    """Do this, and nothing else of ours, before the program ends and before what others asked to be done then."""
    _last_work[:] = [work]
    atexit.unregister(_end)
    atexit.register(_end)


def _end() -> None:
    the_end.set()
    for work in _last_work:
        work()


# All that were not given back yet.
_held: "set[Lifecycle]" = set()


class Lifecycle:
    """The engine of a manager, its recording and its simulated venue."""

    def __init__(self, manager: "Manager", engine: Engine, sim: "SimulatedVenue | None") -> None:
        self.manager = weakref.ref(manager)
        self.recorder: Recorder | None = None
        self._engine = engine
        self._sim = sim
        self._options: RecorderOptions | None = None
        # Where is recorded, until that is sealed.
        self._folder: Path | None = None
        self._lock = threading.RLock()
        self._sealed: Future[None] | None = None
        self._ended: Future[None] | None = None
        self._pid = os.getpid()
        _held.add(self)
        # The end of the program closes them in its own way.
        weakref.finalize(manager, self._forgotten).atexit = False
        before_the_end(_close_at_the_end)

    @property
    def ending(self) -> bool:
        """Whether they are being closed."""
        return self._ended is not None

    @property
    def venue(self) -> Venue:
        """The addresses of the venue."""
        return self._engine.venue

    @property
    def simulated(self) -> bool:
        """Whether the venue is one that was simulated for this manager."""
        return self._sim is not None

    @property
    def replays(self) -> bool:
        """Whether recordings are played."""
        source = self._engine.source
        return source is not None and source.recorded

    @property
    def ours(self) -> bool:
        """Whether they are of this process, and not of the one that it was forked from."""
        return self._pid == os.getpid()

    def records_into(self, folder: Path) -> bool:
        """Return whether a recording is made, or sealed, in this folder."""
        return self._folder == folder.resolve()

    def record(self, folder: Path | None, options: RecorderOptions) -> Path:
        """Record from now on, into a new folder by default; do nothing where it is recorded into already.

        Raises:
            FeedError: it was closed meanwhile.
            StoreError: the folder cannot be recorded into.
            ValueError: it records something else.
        """
        where = in_thread(lambda: self._record(folder, options)).result()
        # A recorder closes itself at the end of the program, too, but then the recording does not say how it ended.
        before_the_end(_close_at_the_end)
        return where

    def _record(self, folder: Path | None, options: RecorderOptions) -> Path:
        with self._lock:
            if self.ending:
                raise FeedError("this manager was closed; make another")
            recorder = self.recorder
            if recorder is None:
                recorder = self._begin(folder or data_dir() / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", options)
            elif options != self._options or not (folder is None or self.records_into(folder)):
                raise ValueError(f"already recording into {recorder.folder}; call stop_recording first")
            return recorder.folder

    def _begin(self, folder: Path, options: RecorderOptions) -> Recorder:
        make_way(folder)
        manager = self.manager()
        told = options
        if manager is not None:
            simulated, tokens = manager.simulated, tuple(manager.simulated_tokens)
            told = msgspec.structs.replace(options, simulated=simulated, simulated_tokens=tokens)
        recorder = Recorder(folder, rebuild=rebuild, options=told)
        try:
            self._engine.call(partial(self._engine.record, recorder))
        except BaseException:
            recorder.close()
            raise
        self.recorder, self._options, self._folder = recorder, options, folder.resolve()
        return recorder

    def stop_recording(self) -> None:
        """Seal the recording; where another thread does already, wait for that."""
        with self._lock:
            recorder = self.recorder
            if recorder is not None:
                in_thread(partial(self._seal, recorder), partial(self._sealing, recorder))
            sealed = self._sealed
        if sealed is not None:
            wait([sealed])
        if sealed is not None and recorder is not None:
            sealed.result()

    def _sealing(self, recorder: Recorder, sealed: "Future[None] | None") -> None:
        """Note that a recording is being sealed, or is not yet."""
        self._sealed = sealed
        self.recorder = recorder if sealed is None else None

    def close(self) -> None:
        """Close everything; a second call waits until that is done."""
        self._give_back().result()

    def wait(self) -> None:
        """Wait until everything is closed."""
        wait([self._give_back()])

    def _give_back(self) -> "Future[None]":
        with self._lock:
            if self._ended is None:
                return in_thread(self._end, self._ending)
            return self._ended

    def _ending(self, ended: "Future[None] | None") -> None:
        """Note that everything is being closed, or is not yet."""
        self._ended = ended

    def _forgotten(self) -> None:
        self._give_back().add_done_callback(_report)

    def _seal(self, recorder: Recorder) -> None:
        try:
            self._engine.call(self._engine.end_recording)
        finally:
            recorder.close()
            self._folder = None

    def _end(self) -> None:
        with ExitStack() as ending:
            ending.callback(_held.discard, self)
            if self._sim is not None:
                ending.callback(self._sim.stop)
            ending.callback(self._engine.close)
            self.stop_recording()


def managers() -> "list[Manager]":
    """List the managers and replays of this process that are open."""
    there = [held.manager() for held in _ours() if not held.ending]
    return [manager for manager in there if manager is not None]


def find(text: str, venue: Venue | None = None) -> list[Market]:
    """Find what a text means: an address, an id, a slug, a series, or words to search for.

    It works in a script and in a notebook, whose event loop is blocked meanwhile.

    Args:
        text: what to look for.
        venue: where; by default the simulated venue of this process, if every open manager is of that one, else that of
            the environment.

    Raises:
        ValueError: the text cannot name a market.
        UnknownMarketError: the venue does not know the id, the slug or the address.
        FeedError: the venue cannot be asked.
    """
    return find_at(text, venue_here(venue))


def venue_here(venue: Venue | None) -> Venue | None:
    """Return a venue, or the simulated one of this process if every open manager is of that one; else None."""
    if venue is not None:
        return venue
    live = [held for held in _ours() if not (held.ending or held.replays)]
    venues = {held.venue for held in live}
    return venues.pop() if len(venues) == 1 and all(held.simulated for held in live) else None


def close_all() -> None:
    """Close every manager and replay of this process, also those that no variable holds any more."""
    for manager in managers():
        manager.close()


def make_way(folder: Path) -> None:
    """See that no other manager of this process records into a folder; one that nobody has any more is waited for.

    Raises:
        StoreError: somebody still has the other manager.
    """
    if any(held.records_into(folder) and not held.ending for held in _ours()):
        # What refers only to itself is there until it is looked for.
        gc.collect()
    for held in _ours():
        if held.records_into(folder):
            if not held.ending:
                raise StoreError(_refusal(held, folder))
            held.wait()


def _ours() -> list[Lifecycle]:
    return [held for held in tuple(_held) if held.ours]


def _refusal(held: Lifecycle, folder: Path) -> str:
    return (
        f"{os.fspath(folder)!r} is being recorded by another manager of this process, {held.manager()!r}; close it "
        "(pm.managers() lists those that are open, pm.close_all() closes them) or choose another folder"
    )


def _report(ended: "Future[None]") -> None:
    if (error := ended.exception()) is not None:
        logger.error("a manager that nothing refers to any more could not be closed", exc_info=error)


def _close_at_the_end() -> None:
    for held in _ours():
        try:
            held.close()
        except Exception:
            # The others are to be closed all the same.
            logger.exception("a manager could not be closed at the end of the program")
