"""Trying the rows of the catalogue, several at a time: most of the time of each is waiting."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event

from pmlive.cli.faults.judge import Judgement, judge
from pmlive.cli.faults.outcome import Outcome
from pmlive.cli.faults.row import Row
from pmlive.cli.faults.scene import NotInTimeError, Scene
from pmlive.errors import PmliveError

__all__ = ["attempt", "attempt_all"]

_AT_ONCE = 6
_S = 1_000_000_000
_CALM = 1.0


def attempt(row: Row, folder: Path, stopping: Event | None = None) -> Outcome:
    """Try one row, in an empty folder, and judge it."""
    began = time.monotonic()
    with Scene(row, folder, stopping or Event()) as scene:
        try:
            _play(scene)
        except NotInTimeError as error:
            scene.complaints.append(str(error))
        return _outcome(scene, _judged(scene), time.monotonic() - began)


def attempt_all(
    rows: Sequence[Row], told: Callable[[Outcome], object] = lambda _: None, *, at_once: int = _AT_ONCE
) -> list[Outcome]:
    """Try rows side by side, telling of each as it is done; give the outcomes in the rows' order."""
    stopping = Event()
    with tempfile.TemporaryDirectory(prefix="pmlive-faults-") as top, ThreadPoolExecutor(at_once) as threads:
        trials = [threads.submit(attempt, row, _folder(top, number), stopping) for number, row in enumerate(rows)]
        try:
            for trial in as_completed(trials):
                told(trial.result())
        except BaseException:
            stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [trial.result() for trial in trials]


def _folder(top: str, number: int) -> Path:
    folder = Path(top, str(number))
    folder.mkdir()
    return folder


def _play(scene: Scene) -> None:
    row = scene.row
    if row.apart:
        row.act(scene)
        return
    (row.begin or _begin)(scene)
    scene.began = time.time_ns()
    row.act(scene)
    scene.over = time.time_ns()
    if row.expected.recovers:
        scene.until_given(since=scene.over)
        scene.recovered_after = (time.time_ns() - scene.over) / _S
    # What comes after the fault is looked at, too; and what is under way then arrives before the end.
    scene.calm(_CALM)
    scene.calm(_CALM * scene.slow)


def _judged(scene: Scene) -> Judgement:
    """End the recorder and judge what there is, whatever came before."""
    if scene.row.apart or scene.is_stopping:
        return Judgement(0, 0, [], 0, [])
    try:
        scene.over = scene.over or time.time_ns()
        scene.began = scene.began or scene.over
        scene.ring()
        return judge(scene)
    except (NotInTimeError, PmliveError, OSError) as error:
        return Judgement(0, 0, [], 0, [f"{type(error).__name__}: {error}"])


def _begin(scene: Scene) -> None:
    """Record until every book is there, and for a while more."""
    scene.start()
    scene.until_given()
    scene.settled = time.time_ns()
    scene.calm(_CALM)


def _outcome(scene: Scene, found: Judgement, lasted: float) -> Outcome:
    after = scene.recovered_after
    return Outcome(
        name=scene.row.name,
        group=scene.row.group,
        lasted=round(lasted, 1),
        missed=found.missed,
        missed_in_no_gap=found.missed_in_no_gap,
        told=found.told,
        refused=found.refused,
        tokens=0 if scene.row.apart else len(scene.tokens),
        recovered_after=None if after is None else round(after, 2),
        code=scene.codes[-1] if scene.codes else None,
        complaints=[*scene.complaints, *found.complaints],
    )
