"""What clients are told to reach a server over HTTP: its address, and the token that every request must bear."""

import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["ConfigKind", "bearer", "config", "write_config"]

ConfigKind: TypeAlias = Literal["all", "code", "json"]


def bearer(token: str) -> dict[str, str]:
    """Give the header that a request bears the token in."""
    return {"Authorization": f"Bearer {token}"}


def config(url: str, token: str, kind: ConfigKind = "all") -> str:
    """Write what makes clients connect; the token is in it.

    Raises:
        ValueError: there is no such kind.
    """
    texts = {"code": _code(url, token), "json": _json(url, token)}
    texts["all"] = (
        f"Claude Code, in a terminal:\n\n{texts['code']}\n\nOthers, in their configuration:\n\n{texts['json']}"
    )
    if kind not in texts:
        raise ValueError(f"there is no configuration of kind {kind!r}; there are: {', '.join(sorted(texts))}")
    return texts[kind]


def write_config(path: Path, url: str, token: str) -> Path:
    """Write the configuration as JSON into a file that only its owner can read, in place of any that is there."""
    # It is made under another name, with its mode from the first byte, and follows no link that stands at the name.
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{_json(url, token)}\n")
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    return path


def _json(url: str, token: str) -> str:
    return json.dumps({"mcpServers": {"pmlive": {"type": "http", "url": url, "headers": bearer(token)}}}, indent=2)


def _code(url: str, token: str) -> str:
    ((name, value),) = bearer(token).items()
    return shlex.join(["claude", "mcp", "add", "--transport", "http", "pmlive", url, "--header", f"{name}: {value}"])
