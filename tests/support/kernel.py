"""A notebook's side of a kernel: cells run in a process of their own, what they show is kept, no wait is endless."""

# jupyter_client's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import json
import os
import queue
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from support.page import Follower
from support.waiting import Budget

__all__ = ["Cell", "Kernel", "kernel"]

_PATIENCE = 150.0
Message: TypeAlias = dict[str, object]


@dataclass
class Cell:
    """What a cell showed; ``error`` is the name and the words of what it raised."""

    status: str
    text: str = ""
    error: str = ""
    outputs: list[tuple[str, dict[str, object]]] = field(default_factory=list[tuple[str, dict[str, object]]])

    def shown(self, kind: str) -> list[dict[str, object]]:
        """List what was shown, or shown in place of something else, by the kind of its message."""
        return [data for its, data in self.outputs if its == kind]


class Kernel:
    """A kernel that runs cells of an invented notebook."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client
        self.messages: list[Message] = []

    # --- cells ---

    def begin(self, code: str, *, cell: str = "") -> str:
        """Ask for a cell to be run, behind those that were asked for before; JupyterLab tells which ``cell`` it is."""
        if not cell:
            return self._client.execute(code, store_history=True, stop_on_error=False)
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": False, "allow_stdin": False}
        asked = self._client.session.msg("execute_request", content, metadata={"cellId": cell})
        self._client.shell_channel.send(asked)
        return str(asked["header"]["msg_id"])

    def wait_for(self, text: str, asked: str, seconds: float = _PATIENCE) -> None:
        """Wait until a cell has printed something."""
        until = time.monotonic() + seconds
        while text not in self._cell(asked, "").text:
            assert time.monotonic() < until, f"a cell did not print {text!r} within {seconds} s"
            self.hear(0.5)

    def end(self, asked: str, seconds: float = _PATIENCE) -> Cell:
        """Wait until a cell was run; give what it showed."""
        until = time.monotonic() + seconds
        while not self._idle(asked):
            self.hear(until - time.monotonic())
        reply = self._client.get_shell_msg(timeout=max(until - time.monotonic(), 1.0))
        while reply["parent_header"].get("msg_id") != asked:
            reply = self._client.get_shell_msg(timeout=max(until - time.monotonic(), 1.0))
        return self._cell(asked, str(reply["content"]["status"]))

    def run(self, code: str, seconds: float = _PATIENCE) -> str:
        """Run a cell that raises nothing; give what it printed."""
        cell = self.end(self.begin(code), seconds)
        assert cell.status == "ok", cell.error
        return cell.text

    def value(self, expression: str) -> object:
        """Give the value of an expression that JSON can hold."""
        return json.loads(self.run(f"import json as _json; print(_json.dumps({expression}))"))

    def wait_until(self, condition: str, seconds: float = 15.0) -> None:
        """Wait until an expression is true, asking again and again: between two asks the kernel is free."""
        budget = Budget(seconds, condition)
        while not self.value(f"bool({condition})"):
            budget.check()

    def follow(self, model_id: str) -> Follower:
        """Follow a chart as a view of it does, by what was heard so far."""
        while self.hear(0.0):
            pass
        opening, *later = [each for each in self.messages if _content(each).get("comm_id") == model_id]
        state = cast("dict[str, dict[str, object]]", cast("Message", _content(opening)["data"])["state"])
        follower = Follower({**state["picture"], "buffer": _buffer(opening)})
        for message in later:
            said = cast("Message", cast("Message", _content(message)["data"]).get("content") or {})
            if said.get("kind") in ("whole", "append"):
                follower.take(said, _buffer(message))
        return follower

    # --- what notebooks do beside running cells ---

    def interrupt(self) -> None:
        """Press the stop button."""
        self._manager.interrupt_kernel()

    def restart(self) -> None:
        """Restart the kernel as a notebook does: it may end by itself, and is killed if it does not."""
        self._client.stop_channels()
        self._manager.restart_kernel(now=False)
        self._client = _connected(self._manager)
        self.messages.clear()

    def hear(self, seconds: float = 0.05) -> bool:
        """Take one more message of the kernel, if one comes."""
        try:
            self.messages.append(self._client.get_iopub_msg(timeout=max(seconds, 0.0)))
        except queue.Empty:
            return False
        return True

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=False)
        self._manager.cleanup_resources()

    def _idle(self, asked: str) -> bool:
        return any(
            _kind(message) == "status" and _content(message)["execution_state"] == "idle" for message in self._of(asked)
        )

    def _of(self, asked: str) -> list[Message]:
        return [each for each in self.messages if cast("Message", each["parent_header"]).get("msg_id") == asked]

    def _cell(self, asked: str, status: str) -> Cell:
        cell = Cell(status)
        for message in self._of(asked):
            kind, content = _kind(message), _content(message)
            if kind == "stream":
                cell.text += str(content["text"])
            elif kind == "error":
                cell.error = f"{content['ename']}: {content['evalue']}"
            elif kind in ("execute_result", "display_data", "update_display_data"):
                data = cast("dict[str, object]", content["data"])
                cell.outputs.append((kind, data))
                cell.text += f"{data.get('text/plain', '')}\n" if kind == "execute_result" else ""
        return cell


def _kind(message: Message) -> str:
    return str(message["msg_type"])


def _content(message: Message) -> Message:
    return cast("Message", message["content"])


def _buffer(message: Message) -> bytes:
    return b"".join(bytes(part) for part in cast("list[memoryview]", message["buffers"]))


def _connected(manager: KernelManager) -> BlockingKernelClient:
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=_PATIENCE)
    return client


@contextmanager
def kernel(folder: Path, environment: Mapping[str, str] | None = None) -> Generator[Kernel]:
    """Start a kernel whose notebook lies in a folder, and end it."""
    manager = KernelManager(kernel_name="python3")
    homes = {name: str(folder / ".home") for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
    manager.start_kernel(cwd=str(folder), env=dict(os.environ) | homes | dict(environment or {}))
    try:
        running = Kernel(manager, _connected(manager))
    except BaseException:
        manager.shutdown_kernel(now=True)
        raise
    try:
        yield running
    finally:
        running.close()
