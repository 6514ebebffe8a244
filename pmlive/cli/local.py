"""What ``pmlive doctor`` finds on this computer: versions, disk, credentials."""

import importlib.util
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from pmlive import __version__
from pmlive.cli.text import size
from pmlive.cli.verdict import Verdict
from pmlive.credentials import Credentials
from pmlive.errors import AuthError
from pmlive.settings import SECRET_NAMES, AddressField, Origin, Variables, Venue

__all__ = ["credentials", "disk", "versions"]

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9.]+)")
# The addresses that credentials are sent to.
_WITH_CREDENTIALS: tuple[AddressField, ...] = ("clob", "clob_ws", "prices_ws")
# A day of twenty busy markets is about one gigabyte.
_LITTLE = 2_000_000_000
_TOO_LITTLE = 200_000_000
# From this ipykernel on, nest-asyncio 1.6.0 loses the cells that are queued; its continuation does not, from 1.7.4 on.
_LOSING_KERNEL = (7, 3)
_GOOD_NEST = (1, 7, 4)


def versions() -> Iterator[Verdict]:
    """Check Python, pmlive and what it is built on."""
    python = platform.python_version()
    yield Verdict("python", "ok", f"{python} on {platform.system()} {platform.machine()}, {sys.executable}")
    yield Verdict("pmlive", "ok", __version__)
    yield from _dependencies()
    yield from _nesting()


def disk(folder: Path) -> Iterator[Verdict]:
    """Check that recordings can be written where they go by default; nothing is left there."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        advice = "give record another folder with --out, or set PMLIVE_DATA_DIR"
        yield Verdict("disk", "problem", f"{folder} cannot be written: {error.strerror}", advice)
        return
    state = "problem" if free < _TOO_LITTLE else "warning" if free < _LITTLE else "ok"
    advice = "" if state == "ok" else "make room, or record onto another disk with --out"
    yield Verdict("disk", state, f"{folder} can be written, {size(free)} free", advice)


def credentials(variables: Variables) -> Verdict:
    """Check that the credentials are none or complete; they are neither shown nor tried."""
    if not any(name in variables for name in SECRET_NAMES):
        return Verdict("credentials", "ok", "none; public data needs none")
    wallet = "POLYGON_PRIVATE_KEY"
    if set(SECRET_NAMES) & set(variables) == {wallet}:
        return _misdirected(variables, variables.origin(wallet)) or _of_wallet()
    try:
        given = Credentials.from_environment(variables)
    except AuthError as error:
        return Verdict("credentials", "problem", str(error), "set all three, or none of them")
    misdirected = None if given is None else _misdirected(variables, given.origin)
    found = "key, secret and passphrase are set; whether they are valid was not tried"
    return misdirected or Verdict("credentials", "ok", found)


def _misdirected(variables: Variables, origin: Origin) -> Verdict | None:
    """Tell of an address that will get no credentials, because a ``.env`` that did not give them gives it."""
    venue = Venue.from_environment(variables)
    try:
        for field in _WITH_CREDENTIALS:
            venue.check_recipient(field, origin)
    except AuthError as error:
        return Verdict("credentials", "problem", str(error), "look at what else that folder brought along")
    return None


def _of_wallet() -> Verdict:
    if importlib.util.find_spec("eth_account") is None:
        advice = "install it with: pip install 'pmlive[auth]'"
        return Verdict(
            "credentials", "problem", "POLYGON_PRIVATE_KEY is set, and what reads it is not installed", advice
        )
    return Verdict("credentials", "ok", "POLYGON_PRIVATE_KEY is set; the others are derived from it when needed")


def _dependencies() -> Iterator[Verdict]:
    for line in requires("pmlive") or []:
        match = _REQUIREMENT.match(line)
        if match is None or "extra ==" in line:
            continue
        name, least = match[1], match[2]
        installed = _installed(name)
        if installed is None:
            yield Verdict(name, "problem", "not installed", f"install it with: pip install '{name}>={least}'")
        elif _parts(installed) < _parts(least):
            advice = f"update it with: pip install '{name}>={least}'"
            yield Verdict(name, "problem", f"{installed}, and {least} or later is needed", advice)
        else:
            yield Verdict(name, "ok", installed)


def _nesting() -> Iterator[Verdict]:
    kernel, old, new = (_installed(name) for name in ("ipykernel", "nest-asyncio", "nest-asyncio2"))
    if kernel is None:
        return
    yield Verdict("ipykernel", "ok", kernel)
    if old is not None and _parts(kernel) >= _LOSING_KERNEL:
        found = f"{old} loses queued cells under ipykernel {kernel} once it is applied"
        yield Verdict(
            "nest-asyncio", "warning", found, "do not apply it; pmlive needs none, and %pmlive nest has another"
        )
    if new is not None and _parts(new) < _GOOD_NEST:
        found = f"{new} may lose queued cells"
        yield Verdict("nest-asyncio2", "warning", found, "update it with: pip install 'nest-asyncio2>=1.7.4'")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
