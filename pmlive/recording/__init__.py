"""Recordings on disk: the list of them, a summary of one, and one opened for reading."""

from pmlive.levels import Levels
from pmlive.recording.book_at import RecordedBook
from pmlive.recording.core import Recording, open_recording
from pmlive.recording.quality import Fault, Latency, Mirror, Quality, TokenQuality
from pmlive.recording.summary import (
    RecordedGap,
    RecordedMarket,
    RecordingSummary,
    TableSummary,
    info,
    recordings,
    sample,
)
from pmlive.recording.verify import Finding, Verification

__all__ = [
    "Fault",
    "Finding",
    "Latency",
    "Levels",
    "Mirror",
    "Quality",
    "RecordedBook",
    "RecordedGap",
    "RecordedMarket",
    "Recording",
    "RecordingSummary",
    "TableSummary",
    "TokenQuality",
    "Verification",
    "info",
    "open_recording",
    "recordings",
    "sample",
]
