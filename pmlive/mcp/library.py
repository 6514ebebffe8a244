"""The recordings that tools may read, by name: a caller gives names and never paths."""

import re
import threading
from pathlib import Path

from pmlive.errors import StoreError
from pmlive.manager import Manager
from pmlive.mcp.answers import RefusalError
from pmlive.recording import Recording, open_recording, recordings, sample
from pmlive.settings import data_dir

__all__ = ["Library"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# What comes with pmlive, by the names that callers use.
_SAMPLES = {"sample": "", "sample-evening": "evening", "sample-updown": "updown"}


class Library:
    """The recordings in a folder, the one that the manager is making, and the samples that come with pmlive.

    Args:
        manager: whose recording is among them while it is made.
        root: the folder, by default the one that recordings go to.
    """

    def __init__(self, manager: Manager, root: Path | None = None) -> None:
        self._manager = manager
        self._root = data_dir() if root is None else root
        self._opened: dict[Path, Recording] = {}
        self._opening = threading.Lock()

    def names(self) -> dict[str, Path]:
        """Give the folder of each name."""
        root = self._root.resolve()
        listed = [Path(info.path).resolve() for info in recordings(root)] if root.is_dir() else []
        made = self._made()
        folders = [path for path in listed if root in (path, path.parent)] + ([made] if made else [])
        others = {name: path for name, path in _samples().items() if path.resolve() not in folders}
        return others | {path.name: path for path in folders if _NAME.fullmatch(path.name)}

    def open(self, name: str) -> Recording:
        """Open a recording, or give the one that is open.

        Raises:
            RefusalError: there is none of this name.
        """
        folder = self.names().get(name)
        if folder is None:
            raise RefusalError(
                "there is no recording of this name; call get_recording_quality without one to list them"
            )
        with self._opening:
            if folder not in self._opened:
                self._opened[folder] = open_recording(folder)
            return self._opened[folder]

    def _made(self) -> Path | None:
        recording = self._manager.report().recording
        return None if recording is None else Path(recording.folder).resolve()


def _samples() -> dict[str, Path]:
    try:
        return {known: sample(name) for known, name in _SAMPLES.items()}
    except StoreError:
        return {}
