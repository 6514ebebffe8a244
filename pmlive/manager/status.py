"""The state of a manager: its connections, subscriptions, counts and books, and what it records or replays."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from pmlive.integrity import Counts
from pmlive.logs import lost
from pmlive.manager.source import Connections, Dialling, ReplayStatus, Source
from pmlive.manager.subscriptions import Subscription, SubscriptionStatus
from pmlive.store import RecorderStatus
from pmlive.threads import ThreadFault, faults

__all__ = ["BackgroundTask", "BookCounts", "Statistics", "Status", "Subscriptions", "status_of"]


class Subscriptions(msgspec.Struct, frozen=True, kw_only=True):
    """The subscriptions, in the order in which they were made."""

    total: int
    by_type: dict[str, int]
    active: list[SubscriptionStatus]


class Statistics(Dialling, frozen=True, kw_only=True):
    """What came, by the name of the event; ``duplicates`` came again, by table."""

    total_events: int = 0
    events_by_type: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    duplicates: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    unknown_kinds: dict[str, int] = msgspec.field(default_factory=dict[str, int])


class BackgroundTask(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the feed thread runs, and whether it has a source of events."""

    running: bool
    task_exists: bool


class BookCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many books are kept and trusted, and the outcomes of their checks."""

    tokens: int = 0
    trusted: int = 0
    open_gaps: int = 0
    checks: Counts = msgspec.field(default_factory=Counts)
    duplicates: int = 0
    out_of_order: int = 0
    before_snapshot: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment; ``books`` is None before anything was subscribed."""

    connections: Connections = msgspec.field(default_factory=Connections)
    subscriptions: Subscriptions
    statistics: Statistics
    background_task: BackgroundTask
    books: BookCounts | None = None
    recording: RecorderStatus | None = None
    replay: ReplayStatus | None = None
    trouble: list[ThreadFault] = []
    log_lines_lost: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON can hold it."""
        return msgspec.to_builtins(self) | ({} if self.books is not None else {"books": {}})


def status_of(source: Source | None, subscriptions: Sequence[Subscription], *, running: bool) -> Status:
    """Describe a source, None before anything was subscribed, and the subscriptions to it."""
    if source is not None:
        source.ingest.freshen()
    return Status(
        connections=Connections() if source is None else source.connections(),
        subscriptions=Subscriptions(
            total=len(subscriptions),
            by_type=dict(Counter(subscription.type for subscription in subscriptions)),
            active=[subscription.status() for subscription in subscriptions],
        ),
        statistics=Statistics() if source is None else _statistics(source),
        background_task=BackgroundTask(running=running, task_exists=source is not None),
        books=None if source is None else _books(source),
        recording=None if source is None or source.ingest.recorder is None else source.ingest.recorder.status(),
        replay=None if source is None else source.playing(),
        trouble=faults(),
        log_lines_lost=lost(),
    )


def _statistics(source: Source) -> Statistics:
    pipeline = source.ingest.pipeline
    counts = dict(pipeline.counts)
    return Statistics(
        total_events=sum(number for name, number in counts.items() if name != "control"),
        events_by_type=counts,
        duplicates=pipeline.duplicates,
        unknown_kinds=dict(pipeline.unknown),
        **msgspec.structs.asdict(source.dialling()),
    )


def _books(source: Source) -> BookCounts:
    pipeline = source.ingest.pipeline
    books, tokens = pipeline.books, pipeline.books.tokens.values()
    return BookCounts(
        tokens=len(tokens),
        trusted=0 if pipeline.stopped else sum(token.trusted() for token in tokens),
        open_gaps=len(pipeline.open_gaps()),
        checks=Counts.total(each for token in tokens for each in (token.total, token.counts)),
        duplicates=sum(pipeline.duplicates.values()),
        out_of_order=books.late,
        before_snapshot=books.early,
    )
