"""Captures of raw frames by other recorders, imported as recordings: decoded, checked and replayed like our own."""

from pmlive.captures.importing import ImportReport, NotUnderstood, import_capture

__all__ = ["ImportReport", "NotUnderstood", "import_capture"]
