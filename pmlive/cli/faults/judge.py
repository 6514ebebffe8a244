"""What the venue's own account says of a trial: what was missed, what was told of it, and which books were wrong."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import msgspec

from pmlive.cli.faults.outcome import Told
from pmlive.cli.faults.row import Whose
from pmlive.cli.faults.scene import Scene
from pmlive.cli.faults.sight import Given, Sight
from pmlive.cli.text import counted
from pmlive.errors import PmliveError
from pmlive.recording import Recording, open_recording
from pmlive.sim import Change, History

__all__ = ["Judgement", "judge"]

_MS = 1_000_000
_S = 1_000_000_000
# The venue and the recorder have the same clock, but a message takes its time between them.
_ON_THE_WAY = 0.5
_MOMENTS = 0.5
# A change that is lost shows in the hash of the next one, which is judged once its whole state has come.
_JUDGED = 0.5


class Gap(msgspec.Struct, frozen=True):
    """One gap of the recording; times in nanoseconds."""

    token_id: str | None
    started: int
    ended: int | None
    cause: str

    def covers(self, change: Change, slack: int) -> bool:
        """Tell whether a change is inside, by the venue's time."""
        at = change.at * _MS
        mine = self.token_id in (None, change.token_id)
        return mine and self.started - slack <= at and (self.ended is None or at <= self.ended + slack)

    def seconds(self, last: int) -> float:
        """Give its length."""
        return ((last if self.ended is None else self.ended) - self.started) / _S


class Judgement(msgspec.Struct):
    """What was found."""

    missed: int
    missed_in_no_gap: int
    told: list[Told]
    refused: int
    complaints: list[str]


def judge(scene: Scene) -> Judgement:
    """Compare a recording, and what its books said, with the venue's account."""
    night = open_recording(scene.tape)
    gaps = _gaps(night)
    missed = _missed(scene, night)
    slack = int(_ON_THE_WAY * scene.slow * _S)
    outside = [change for change in missed if not any(gap.covers(change, slack) for gap in gaps)]
    refused = _refused(scene)
    complaints = [
        *_of_missed(outside, scene),
        *_of_gaps(gaps, scene),
        *_of_refusals(refused, scene),
        *_of_sights(scene),
        *_of_recorded_books(scene, night),
        *_of_code(scene),
    ]
    return Judgement(len(missed), len(outside), _told(gaps, scene), len(refused), complaints)


def _gaps(night: Recording) -> list[Gap]:
    rows = night.gaps.select("token_id", "started", "ended", "cause").rows(named=True)
    return [
        Gap(row["token_id"], _ns(row["started"]), None if row["ended"] is None else _ns(row["ended"]), row["cause"])
        for row in rows
    ]


def _ns(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000) * 1_000


def _missed(scene: Scene, night: Recording) -> list[Change]:
    """List the changes that were made while the recorder ran, and that it does not have."""
    frame = night.scan("book_deltas").select("token_id", "ts_event", "side", "price", "size").collect()
    kept = Counter(
        (_ns(row["ts_event"]) // _MS, row["token_id"], row["side"], row["price"], row["size"])
        for row in frame.iter_rows(named=True)
    )
    first, last = scene.settled // _MS, scene.rung // _MS - int(1000 * scene.slow)
    missed = list[Change]()
    for change in scene.sim.changes():
        if not first <= change.at <= last:
            continue
        key = (change.at, change.token_id, change.side, change.price, change.size)
        if kept[key] > 0:
            kept[key] -= 1
        else:
            missed.append(change)
    return missed


def _of_missed(outside: list[Change], scene: Scene) -> Iterator[str]:
    if outside:
        times = [(change.at - scene.began // _MS) / 1000 for change in outside]
        when = f"{min(times):+.1f} s to {max(times):+.1f} s after the fault began"
        yield f"{counted(len(outside), 'change')} missed outside any gap, {when}"


def _of_gaps(gaps: list[Gap], scene: Scene) -> Iterator[str]:
    expected = scene.row.expected
    causes = {gap.cause for gap in gaps}
    if expected.gaps == "none" and not causes <= expected.causes:
        yield f"a gap was told where nothing was missed: {', '.join(sorted(causes))}"
    if expected.gaps not in ("none", "any") and not causes & expected.causes:
        yield f"no gap by {' or '.join(sorted(expected.causes))}; told: {', '.join(sorted(causes)) or 'none'}"
    if expected.gaps != "none" and causes - expected.causes:
        yield f"unexpected: a gap by {', '.join(sorted(causes - expected.causes))}"
    # One that begins and ends at the same moment says that something happened, and covers nothing.
    lasting = [gap for gap in gaps if gap.ended != gap.started]
    with_gap = {token for token in scene.tokens if any(gap.token_id in (None, token) for gap in lasting)}
    yield from _whose(expected.gaps, len(with_gap), len(scene.tokens), "have a gap that lasts")
    yield from _of_breadth(gaps, scene)


def _of_breadth(gaps: list[Gap], scene: Scene) -> Iterator[str]:
    expected, slow = scene.row.expected, scene.slow
    first = scene.began - int(expected.before * slow * _S)
    early = [gap for gap in gaps if gap.started < first]
    if early:
        most = max(scene.began - gap.started for gap in early) / _S
        yield f"{counted(len(early), 'gap')} began up to {most:.1f} s before the fault did"
    if not expected.recovers or scene.recovered_after is None:
        return
    last = scene.over + int((scene.recovered_after + expected.after * slow) * _S)
    late = [gap for gap in gaps if gap.token_id not in scene.gone and (gap.ended is None or gap.ended > last)]
    if late:
        yield f"{counted(len(late), 'gap')} did not end when every book was back"


def _refused(scene: Scene) -> set[str]:
    seen = [sight for sight in scene.sights if sight.until >= scene.began]
    return {token for sight in seen for token, book in sight.books.items() if book is None and token not in scene.gone}


def _of_refusals(refused: set[str], scene: Scene) -> Iterator[str]:
    yield from _whose(scene.row.expected.refused, len(refused), len(scene.tokens), "refused to answer")


def _whose(whose: Whose, number: int, of: int, did: str) -> Iterator[str]:
    right = {
        "all": number == of,
        "some": 0 < number < of,
        "at least one": number > 0,
        "none": number == 0,
        "any": True,
    }
    if not right[whose]:
        yield f"{number} of {of} books {did}, where it must be {whose}"


def _of_sights(scene: Scene) -> Iterator[str]:
    """Find the books that were given while it ran though the venue's were others, for longer than judging takes."""
    histories = scene.sim.history()
    patience = int(scene.row.expected.patience * scene.slow * _S)
    wrong, since = list[float](), dict[str, int]()
    for sight in scene.sights:
        for token, book in sight.books.items():
            if book is None or _was_right(book, histories[token], sight, patience):
                since.pop(token, None)
            elif sight.since - since.setdefault(token, sight.since) > _JUDGED * scene.slow * _S:
                wrong.append((sight.since - scene.began) / _S)
    yield from _complain(wrong, "given while it ran")


def _was_right(book: Given, history: History, sight: Sight, patience: int) -> bool:
    first, last = (sight.since - patience) // _MS, sight.until // _MS + 1
    return history.had(book.bids, book.asks, since=first, until=last)


def _of_recorded_books(scene: Scene, night: Recording) -> Iterator[str]:
    """Find the moments at which the recording gives a book that the venue did not have."""
    histories = scene.sim.history()
    late = int(scene.row.expected.lag * scene.slow * _S)
    wrong = list[float]()
    for at in range(scene.settled, scene.rung - late, int(_MOMENTS * _S)):
        for token in scene.tokens:
            if not _recorded_right(night, histories[token], token, at=at, late=late):
                wrong.append((at - scene.began) / _S)
    yield from _complain(wrong, "given by the recording")


def _recorded_right(night: Recording, history: History, token: str, *, at: int, late: int) -> bool:
    try:
        book = night.book_at(token, at)
    except PmliveError:
        return True
    if book.quality == "stale":
        return True
    return history.had(book.bids, book.asks, since=(at - late) // _MS, until=at // _MS + 1)


def _complain(wrong: list[float], how: str) -> Iterator[str]:
    if wrong:
        when = f"{min(wrong):+.1f} s to {max(wrong):+.1f} s after the fault began"
        yield f"{counted(len(wrong), 'book')} {how} that the venue did not have then, {when}"


def _of_code(scene: Scene) -> Iterator[str]:
    code, wanted = scene.codes[-1], scene.row.expected.code
    if wanted is not None and code != wanted:
        yield f"the exit code is {code}, where it must be {wanted}"


def _told(gaps: list[Gap], scene: Scene) -> list[Told]:
    number = Counter(gap.cause for gap in gaps)
    longest = {cause: max(gap.seconds(scene.rung) for gap in gaps if gap.cause == cause) for cause in number}
    return [Told(cause=cause, gaps=number[cause], longest=round(longest[cause], 3)) for cause in sorted(number)]
