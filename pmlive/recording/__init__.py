"""Recordings on disk: the list of them, a summary of one, and one opened for reading."""

from pmlive.levels import Levels
from pmlive.recording.book_at import RecordedBook
from pmlive.recording.contents import (
    RecordedGap,
    RecordedMarket,
    RecordingSummary,
    TableSummary,
    info,
    recordings,
)
from pmlive.recording.core import Recording, open_recording
from pmlive.recording.events import (
    BookEndEvent,
    BookEvent,
    EventBase,
    EventBook,
    GapBeginEvent,
    GapEndEvent,
    LevelEvent,
    RecordedEvent,
    ResolutionEvent,
    TickSizeEvent,
    TradeEvent,
)
from pmlive.recording.quality import Fault, Latency, Mirror, Quality, TokenQuality
from pmlive.recording.verify import Finding, Verification
from pmlive.samples import sample

__all__ = [
    "BookEndEvent",
    "BookEvent",
    "EventBase",
    "EventBook",
    "Fault",
    "Finding",
    "GapBeginEvent",
    "GapEndEvent",
    "Latency",
    "LevelEvent",
    "Levels",
    "Mirror",
    "Quality",
    "RecordedBook",
    "RecordedEvent",
    "RecordedGap",
    "RecordedMarket",
    "Recording",
    "RecordingSummary",
    "ResolutionEvent",
    "TableSummary",
    "TickSizeEvent",
    "TokenQuality",
    "TradeEvent",
    "Verification",
    "info",
    "open_recording",
    "recordings",
    "sample",
]
