"""Other people's captures of raw frames, made into recordings: decoded again, checked, and replayed as our own."""

from pmlive.captures.importing import import_capture
from pmlive.captures.report import ImportReport, NotUnderstood

__all__ = ["ImportReport", "NotUnderstood", "import_capture"]
