"""Recordings on disk: the log that survives a crash, the sealed files, and how they are read."""

from pmlive.records import Record
from pmlive.store.maintenance import Compaction, Repaired, RepairReport, compact, repair
from pmlive.store.manifest import Manifest, SealedFile, read_manifest
from pmlive.store.opening import Earlier
from pmlive.store.reader import FileProblem, RecordingInfo, recordings, records, scan, span, verify_files
from pmlive.store.recorder import Recorder, RecorderOptions, RecorderStatus

__all__ = [
    "Compaction",
    "Earlier",
    "FileProblem",
    "Manifest",
    "Record",
    "Recorder",
    "RecorderOptions",
    "RecorderStatus",
    "RecordingInfo",
    "RepairReport",
    "Repaired",
    "SealedFile",
    "compact",
    "read_manifest",
    "recordings",
    "records",
    "repair",
    "scan",
    "span",
    "verify_files",
]
