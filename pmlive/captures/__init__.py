"""Other people's captures of raw frames, made into recordings: decoded again, checked, and replayed as our own."""

from pmlive.captures.importing import ImportReport, NotUnderstood, import_capture

__all__ = ["ImportReport", "NotUnderstood", "import_capture"]
