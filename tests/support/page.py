"""A browser's side of widgets: it takes what a kernel sends over comms, follows as the scripts do, and answers."""

import struct
from collections.abc import Mapping
from typing import cast

from comm.base_comm import BaseComm, BuffersType, MaybeDict

__all__ = ["Follower", "Page", "PageComm"]


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
    """What a view in the browser knows, by the same rules as ``link.js``."""

    def __init__(self, picture: Mapping[str, object]) -> None:
        self.number = -1
        self.values: dict[str, object] = {}
        self.arrays: dict[str, list[float]] = {}
        self.missed = 0
        self.take(picture, cast("bytes", picture["buffer"]))

    def take(self, message: Mapping[str, object], buffer: bytes) -> None:
        number = cast("int", message["number"])
        if message["kind"] == "append" and number <= self.number:
            return
        if message["kind"] == "append" and number != self.number + 1:
            self.missed += 1
            return
        self.number = number
        self.values = cast("dict[str, object]", message["values"])
        at = 0
        for name, rows, columns in cast("list[tuple[str, int, int]]", message["arrays"]):
            numbers = list(struct.unpack_from(f"<{rows * columns}d", buffer, at))
            at += 8 * rows * columns
            grows = message["kind"] == "append" and name in cast("list[str]", message["grows"])
            self.arrays[name] = (self.arrays.get(name, []) if grows else []) + numbers

    def take_all(self, comm: PageComm) -> None:
        for message, buffer in comm.messages:
            if message["kind"] in ("whole", "append"):
                self.take(message, buffer)
