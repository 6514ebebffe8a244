"""Attempts at cases, each judged by what the venue sent, and the report of their outcomes."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path
from threading import Event

import msgspec

from pmlive.cli.faults.trial import FaultCase, Observation, ObservedBook, Scope, Trial, TrialError
from pmlive.cli.terminal import format_count, format_duration, format_table
from pmlive.errors import PmliveError
from pmlive.recording import Recording, open_recording
from pmlive.sim import Change, History

__all__ = ["Outcome", "attempt", "attempt_all", "report"]

_HEAD = ["", "fault", "missed", "gaps reported", "books refused", "recovered after", "exit"]

# How many cases are tried at a time; they mostly wait.
_AT_ONCE = 6
_MS = 1_000_000
_S = 1_000_000_000
# Seconds that are recorded before the fault, and after it.
_CALM_SECONDS = 1.0
# How long a message may take from the venue to the recorder, which have the same clock.
_TRANSIT_SECONDS = 0.5
# The interval of the times at which the recording's books are checked.
_BOOK_INTERVAL_S = 0.5
# A lost change shows in the hash of the next one, which is checked once all its messages have come.
_MISMATCH_SECONDS = 0.5


class CauseTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The gaps of one cause: how many, and the seconds of the longest."""

    cause: str
    gaps: int
    longest: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one case, which held if there are no complaints."""

    name: str
    group: str
    lasted: float
    missed: int = 0
    missed_in_no_gap: int = 0
    told: list[CauseTotal] = []
    refused: int = 0
    tokens: int = 0
    recovered_after: float | None = None
    code: int | None = None
    complaints: list[str] = []

    @property
    def held(self) -> bool:
        """Whether everything was as expected."""
        return not self.complaints

    def to_dict(self) -> dict[str, object]:
        """Return everything as JSON can hold it."""
        return {"held": self.held, **msgspec.structs.asdict(self)}


def attempt(case: FaultCase, folder: Path, cancelled: Event | None = None) -> Outcome:
    """Try one case, in an empty folder, and judge it."""
    began = time.monotonic()
    with Trial(case, folder, cancelled or Event()) as trial:
        try:
            _run(trial)
        except TrialError as error:
            trial.complaints.append(str(error))
        return _outcome(trial, _findings(trial), time.monotonic() - began)


def attempt_all(
    cases: Sequence[FaultCase], done: Callable[[Outcome], object] = lambda _: None, *, at_once: int = _AT_ONCE
) -> list[Outcome]:
    """Try cases concurrently, calling ``done`` with each outcome; return the outcomes in the order of the cases."""
    cancelled = Event()
    with tempfile.TemporaryDirectory(prefix="pmlive-faults-") as top, ThreadPoolExecutor(at_once) as threads:
        trials = [threads.submit(attempt, case, _folder(top, number), cancelled) for number, case in enumerate(cases)]
        try:
            for trial in as_completed(trials):
                done(trial.result())
        except BaseException:
            cancelled.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [trial.result() for trial in trials]


def report(outcomes: Sequence[Outcome]) -> str:
    """Return a table of outcomes, followed by the complaints of each case."""
    lines = format_table(_HEAD, [_cells(outcome) for outcome in outcomes], right=[2])
    failed = [outcome for outcome in outcomes if not outcome.held]
    for outcome in failed:
        lines += ["", f"{outcome.name} does not hold:", *(f"  {complaint}" for complaint in outcome.complaints)]
    return "\n".join([*lines, "", f"{format_count(len(outcomes), 'fault')}, {len(outcomes) - len(failed)} held"])


class _GapSpan(msgspec.Struct, frozen=True):
    """One gap of the recording; times in nanoseconds."""

    token_id: str | None
    started: int
    ended: int | None
    cause: str

    def covers(self, change: Change, slack: int) -> bool:
        at = change.at * _MS
        concerned = self.token_id in (None, change.token_id)
        return concerned and self.started - slack <= at and (self.ended is None or at <= self.ended + slack)

    def seconds(self, last: int) -> float:
        return ((last if self.ended is None else self.ended) - self.started) / _S


class _Findings(msgspec.Struct):
    """The findings about one trial."""

    missed: int = 0
    missed_in_no_gap: int = 0
    causes: list[CauseTotal] = []
    refused: int = 0
    complaints: list[str] = []


def _folder(top: str, number: int) -> Path:
    folder = Path(top, str(number))
    folder.mkdir()
    return folder


def _run(trial: Trial) -> None:
    case = trial.case
    if not case.recorded:
        case.inject(trial)
        return
    (case.start or _start)(trial)
    trial.began_ns = time.time_ns()
    case.inject(trial)
    trial.over_ns = time.time_ns()
    if case.expected.recovers:
        trial.wait_for_books(since=trial.over_ns)
        trial.recovered_after = (time.time_ns() - trial.over_ns) / _S
    # What comes after the fault is judged, too; the second wait is for messages that are still on their way.
    trial.sleep(_CALM_SECONDS)
    trial.sleep(_CALM_SECONDS * trial.slowness)


def _start(trial: Trial) -> None:
    """Record until every book is there, and for a while more."""
    trial.start()
    trial.wait_for_books()
    trial.ready_ns = time.time_ns()
    trial.sleep(_CALM_SECONDS)


def _outcome(trial: Trial, findings: _Findings, lasted: float) -> Outcome:
    after = trial.recovered_after
    return Outcome(
        name=trial.case.name,
        group=trial.case.group,
        lasted=round(lasted, 1),
        missed=findings.missed,
        missed_in_no_gap=findings.missed_in_no_gap,
        told=findings.causes,
        refused=findings.refused,
        tokens=len(trial.tokens) if trial.case.recorded else 0,
        recovered_after=None if after is None else round(after, 2),
        code=trial.exit_codes[-1] if trial.exit_codes else None,
        complaints=[*trial.complaints, *findings.complaints],
    )


def _findings(trial: Trial) -> _Findings:
    """Stop the recorder and judge its recording, whatever happened before."""
    if not trial.case.recorded or trial.is_cancelled:
        return _Findings()
    try:
        trial.over_ns = trial.over_ns or time.time_ns()
        trial.began_ns = trial.began_ns or trial.over_ns
        trial.stop()
        return _judge(trial)
    except (TrialError, PmliveError, OSError) as error:
        return _Findings(complaints=[f"{type(error).__name__}: {error}"])


def _judge(trial: Trial) -> _Findings:
    """Compare the recording and the observed books with what the venue sent."""
    recording = open_recording(trial.recording)
    gaps = _gaps(recording)
    missed = _missed_changes(trial, recording)
    slack = int(_TRANSIT_SECONDS * trial.slowness * _S)
    outside = [change for change in missed if not any(gap.covers(change, slack) for gap in gaps)]
    refused = _refused_tokens(trial)
    complaints = [
        *_check_missed(outside, trial),
        *_check_gaps(gaps, trial),
        *_check_scope(trial.case.expected.refused, len(refused), len(trial.tokens), "refused to answer"),
        *_check_observed_books(trial),
        *_check_recorded_books(trial, recording),
        *_check_exit_code(trial),
    ]
    return _Findings(len(missed), len(outside), _cause_totals(gaps, trial), len(refused), complaints)


def _gaps(recording: Recording) -> list[_GapSpan]:
    rows = recording.gaps.select("token_id", "started", "ended", "cause").rows(named=True)
    return [
        _GapSpan(
            row["token_id"], _ns(row["started"]), None if row["ended"] is None else _ns(row["ended"]), row["cause"]
        )
        for row in rows
    ]


def _ns(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000) * 1_000


def _missed_changes(trial: Trial, recording: Recording) -> list[Change]:
    """List the changes that the venue made while the recorder ran and that the recording lacks."""
    frame = recording.scan("book_deltas").select("token_id", "ts_event", "side", "price", "size").collect()
    kept = Counter(
        (_ns(row["ts_event"]) // _MS, row["token_id"], row["side"], row["price"], row["size"])
        for row in frame.iter_rows(named=True)
    )
    first, last = trial.ready_ns // _MS, trial.stopped_ns // _MS - int(1000 * trial.slowness)
    missed = list[Change]()
    for change in trial.sim.changes():
        if not first <= change.at <= last:
            continue
        key = (change.at, change.token_id, change.side, change.price, change.size)
        if kept[key] > 0:
            kept[key] -= 1
        else:
            missed.append(change)
    return missed


def _refused_tokens(trial: Trial) -> set[str]:
    return {
        token
        for seen in trial.observations
        for token, book in seen.books.items()
        if seen.until >= trial.began_ns and book is None and token not in trial.resolved
    }


def _cause_totals(gaps: list[_GapSpan], trial: Trial) -> list[CauseTotal]:
    number = Counter(gap.cause for gap in gaps)
    longest = {cause: max(gap.seconds(trial.stopped_ns) for gap in gaps if gap.cause == cause) for cause in number}
    return [CauseTotal(cause=cause, gaps=number[cause], longest=round(longest[cause], 3)) for cause in sorted(number)]


def _check_missed(outside: list[Change], trial: Trial) -> Iterator[str]:
    if outside:
        times = [(change.at - trial.began_ns // _MS) / 1000 for change in outside]
        yield f"{format_count(len(outside), 'change')} missed outside any gap, {_when(times)}"


def _when(seconds: Sequence[float]) -> str:
    return f"{min(seconds):+.1f} s to {max(seconds):+.1f} s after the fault began"


def _check_gaps(gaps: list[_GapSpan], trial: Trial) -> Iterator[str]:
    expected = trial.case.expected
    causes = {gap.cause for gap in gaps}
    if expected.gaps == "none" and not causes <= expected.causes:
        yield f"a gap was reported where nothing was missed: {', '.join(sorted(causes))}"
    if expected.gaps not in ("none", "any") and not causes & expected.causes:
        yield f"no gap by {' or '.join(sorted(expected.causes))}; reported: {', '.join(sorted(causes)) or 'none'}"
    if expected.gaps != "none" and causes - expected.causes:
        yield f"unexpected: a gap by {', '.join(sorted(causes - expected.causes))}"
    # A gap that ends when it begins says that something happened, but covers nothing.
    lasting = [gap for gap in gaps if gap.ended != gap.started]
    with_gap = {token for token in trial.tokens if any(gap.token_id in (None, token) for gap in lasting)}
    yield from _check_scope(expected.gaps, len(with_gap), len(trial.tokens), "have a gap that lasts")
    yield from _check_breadth(gaps, trial)


def _check_breadth(gaps: list[_GapSpan], trial: Trial) -> Iterator[str]:
    expected, slowness = trial.case.expected, trial.slowness
    first = trial.began_ns - int(expected.before * slowness * _S)
    early = [gap for gap in gaps if gap.started < first]
    if early:
        most = max(trial.began_ns - gap.started for gap in early) / _S
        yield f"{format_count(len(early), 'gap')} began up to {most:.1f} s before the fault did"
    if not expected.recovers or trial.recovered_after is None:
        return
    last = trial.over_ns + int((trial.recovered_after + expected.after * slowness) * _S)
    late = [gap for gap in gaps if gap.token_id not in trial.resolved and (gap.ended is None or gap.ended > last)]
    if late:
        yield f"{format_count(len(late), 'gap')} did not end when every book was back"


def _check_scope(scope: Scope, number: int, of: int, did: str) -> Iterator[str]:
    right = {
        "all": number == of,
        "some": 0 < number < of,
        "at least one": number > 0,
        "none": number == 0,
        "any": True,
    }
    if not right[scope]:
        yield f"{number} of {of} books {did}; expected {scope}"


def _check_observed_books(trial: Trial) -> Iterator[str]:
    """Find books that were given while the venue's differed for longer than a mismatch takes to show."""
    histories = trial.sim.history()
    max_age = int(trial.case.expected.max_age * trial.slowness * _S)
    wrong, since = list[float](), dict[str, int]()
    for seen in trial.observations:
        for token, book in seen.books.items():
            if book is None or _was_right(book, histories[token], seen, max_age):
                since.pop(token, None)
            elif seen.since - since.setdefault(token, seen.since) > _MISMATCH_SECONDS * trial.slowness * _S:
                wrong.append((seen.since - trial.began_ns) / _S)
    yield from _report_wrong_books(wrong, "given while it ran")


def _was_right(book: ObservedBook, history: History, seen: Observation, max_age: int) -> bool:
    first, last = (seen.since - max_age) // _MS, seen.until // _MS + 1
    return history.had(book.bids, book.asks, since=first, until=last)


def _check_recorded_books(trial: Trial, recording: Recording) -> Iterator[str]:
    """Find times at which the recording gives a book that the venue did not have."""
    histories = trial.sim.history()
    lag = int(trial.case.expected.lag * trial.slowness * _S)
    wrong = list[float]()
    for at in range(trial.ready_ns, trial.stopped_ns - lag, int(_BOOK_INTERVAL_S * _S)):
        for token in trial.tokens:
            if not _recorded_right(recording, histories[token], token, at=at, lag=lag):
                wrong.append((at - trial.began_ns) / _S)
    yield from _report_wrong_books(wrong, "given by the recording")


def _recorded_right(recording: Recording, history: History, token: str, *, at: int, lag: int) -> bool:
    try:
        book = recording.book_at(token, at)
    except PmliveError:
        return True
    if book.quality == "stale":
        return True
    return history.had(book.bids, book.asks, since=(at - lag) // _MS, until=at // _MS + 1)


def _report_wrong_books(wrong: list[float], how: str) -> Iterator[str]:
    if wrong:
        yield f"{format_count(len(wrong), 'book')} {how} that the venue did not have then, {_when(wrong)}"


def _check_exit_code(trial: Trial) -> Iterator[str]:
    code, expected = trial.exit_codes[-1], trial.case.expected.code
    if expected is not None and code != expected:
        yield f"the exit code is {code}; expected {expected}"


def _cells(outcome: Outcome) -> list[str]:
    gaps = ", ".join(f"{each.gaps} {each.cause} ({format_duration(each.longest)})" for each in outcome.told)
    after = outcome.recovered_after
    return [
        "held" if outcome.held else "FAILED",
        outcome.name,
        f"{outcome.missed:,}",
        gaps or "none",
        f"{outcome.refused} of {outcome.tokens}" if outcome.tokens else "-",
        "-" if after is None else format_duration(after),
        "-" if outcome.code is None else str(outcome.code),
    ]
