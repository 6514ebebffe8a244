"""The recorded messages in ``frames/``."""

import json
from pathlib import Path
from typing import TypedDict, cast

import msgspec

from pmlive.events import BookSnapshot, Channel

_FOLDER = Path(__file__).parent / "frames"


class Frame(TypedDict):
    """One line of a file of recorded messages."""

    name: str
    channel: Channel
    real: bool
    events: list[str]
    frame: str


def frames(source: str) -> dict[str, Frame]:
    """Read the messages of one source by their names."""
    lines = (_FOLDER / f"{source}.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["name"]: line for line in (cast("Frame", json.loads(text)) for text in lines)}


def every_frame() -> dict[str, Frame]:
    """Read all messages, by source and name."""
    return {
        f"{path.stem}: {name}": frame
        for path in sorted(_FOLDER.glob("*.jsonl"))
        for name, frame in frames(path.stem).items()
    }


def fields(value: object) -> object:
    """Lay open an event under our own names, at every depth."""
    if isinstance(value, BookSnapshot):
        rest = {name: item for name, item in msgspec.structs.asdict(value).items() if not name.endswith("_json")}
        return rest | {"bids": fields(value.bids), "asks": fields(value.asks)}
    if isinstance(value, msgspec.Struct):
        return {name: fields(item) for name, item in msgspec.structs.asdict(value).items()}
    if isinstance(value, list):
        return [fields(item) for item in cast("list[object]", value)]
    return value
