"""``pmlive doctor``: checks of whether this computer and its network can record.

With ``--faults`` it tries the catalogue of faults instead.
"""

import asyncio
import importlib.util
import platform
import re
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from pmlive import __version__
from pmlive.cli.commands import Subparsers, add_command
from pmlive.cli.terminal import Output, Stop, format_count, format_size
from pmlive.cli.venue import add_venue, venue
from pmlive.credentials import Credentials
from pmlive.errors import AuthError, FeedError, ProtocolError
from pmlive.feed.dialling import probe
from pmlive.markets import Catalogue, Policy
from pmlive.proxies import proxy_for, tls
from pmlive.settings import SECRET_NAMES, AddressField, Origin, Variables, Venue, data_dir
from pmlive.widgets.magic import FIRST_KERNEL_LOSING_CELLS, FIRST_NEST_WITHOUT_LOSS, installed, version_numbers

__all__ = ["add", "check_credentials"]

CheckState: TypeAlias = Literal["ok", "warning", "problem"]

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9.]+)")
_WALLET = "POLYGON_PRIVATE_KEY"
# The addresses that credentials are sent to.
_WITH_CREDENTIALS: tuple[AddressField, ...] = ("clob", "clob_ws", "prices_ws")
# Free bytes on the disk; a day of twenty busy markets is about one gigabyte.
_LITTLE_SPACE = 2_000_000_000
_TOO_LITTLE_SPACE = 200_000_000
# How long an address may take to answer, and how far the clock may be off.
_TIMEOUT_S = 5.0
_MOST_SKEW_S = 2.0
_NETWORK_ADVICE = "check the network and a proxy; a firewall or a country may be in between"


class DoctorCheck(msgspec.Struct, frozen=True):
    """One check and its finding, with advice on a warning or a problem."""

    name: str
    state: CheckState
    found: str
    advice: str = ""


def add(subparsers: Subparsers) -> None:
    """Add the command."""
    command = add_command(
        subparsers,
        "doctor",
        _doctor,
        summary="Check network, clock, credentials, disk and versions, and say what to do",
        examples=["pmlive doctor", "pmlive doctor --faults disk"],
        more="No secret is shown or sent. The exit code is 1 if there is a problem. With --faults none of that is "
        "checked: instead every fault that pmlive is built for is brought about here, with a simulated venue and "
        "recorders in processes of their own, which takes some minutes.",
    )
    command.add_argument(
        "--faults",
        nargs="*",
        metavar="WORDS",
        help="try the catalogue of faults, or those of these groups or with these words in their names",
    )
    add_venue(command)


def check_credentials(variables: Variables) -> DoctorCheck:
    """Check that the credentials are complete or absent, without showing or trying them."""
    if not any(name in variables for name in SECRET_NAMES):
        return DoctorCheck("credentials", "ok", "none; public data needs none")
    if set(SECRET_NAMES) & set(variables) == {_WALLET}:
        return _check_recipients(variables, variables.origin(_WALLET)) or _check_wallet()
    try:
        credentials = Credentials.from_environment(variables)
    except AuthError as error:
        return DoctorCheck("credentials", "problem", str(error), "set all three, or none of them")
    refused = None if credentials is None else _check_recipients(variables, credentials.origin)
    found = "key, secret and passphrase are set; whether they are valid was not tried"
    return refused or DoctorCheck("credentials", "ok", found)


def _doctor(options: Namespace, out: Output, _: Stop) -> int:
    if options.faults is not None:
        return _try_faults(options.faults, out)
    variables = Variables.read()
    checks = [*_check_versions(), *_check_disk(data_dir(variables)), check_credentials(variables)]
    out.progress("asking the venue")
    with venue(options.venue) as where:
        checks += asyncio.run(_check_network(where))
    number = Counter(check.state for check in checks)
    lines = [line for check in checks for line in _lines(check)]
    ending = f"{format_count(number['problem'], 'problem')}, {format_count(number['warning'], 'warning')}"
    out.result({"ok": not number["problem"], "checks": checks}, "\n".join([*lines, "", ending]))
    return 1 if number["problem"] else 0


def _lines(check: DoctorCheck) -> list[str]:
    first = f"{check.state:<9}{check.name:<14}{check.found}"
    return [first, f"{'':<23}{check.advice}"] if check.advice else [first]


def _try_faults(words: Sequence[str], out: Output) -> int:
    """Try the faults that the words select, and print a table of their outcomes."""
    # The catalogue needs what only a POSIX system has; the other checks do not.
    from pmlive.cli.faults import CATALOGUE, Outcome, attempt_all, report

    cases = [case for case in CATALOGUE if not words or any(word == case.group or word in case.name for word in words)]
    if not cases:
        known = ", ".join(dict.fromkeys(case.group for case in CATALOGUE))
        raise ValueError(f"no fault's name has {' or '.join(map(repr, words))}; groups are {known}")
    done = list[Outcome]()

    def show(outcome: Outcome) -> None:
        done.append(outcome)
        if not outcome.held:
            out.note(f"pmlive: {outcome.name} does not hold: {'; '.join(outcome.complaints)}")
        out.progress(f"{len(done)} of {format_count(len(cases), 'fault')} tried; {outcome.name}")

    out.progress(f"trying {format_count(len(cases), 'fault')}")
    outcomes = attempt_all(cases, show)
    held = all(outcome.held for outcome in outcomes)
    out.result({"ok": held, "faults": [outcome.to_dict() for outcome in outcomes]}, report(outcomes))
    return 0 if held else 1


def _check_versions() -> Iterator[DoctorCheck]:
    """Check Python, pmlive and the libraries that it needs."""
    python = platform.python_version()
    yield DoctorCheck("python", "ok", f"{python} on {platform.system()} {platform.machine()}, {sys.executable}")
    yield DoctorCheck("pmlive", "ok", __version__)
    yield from _check_dependencies()
    yield from _check_nested_loops()


def _check_dependencies() -> Iterator[DoctorCheck]:
    for line in requires("pmlive") or []:
        match = _REQUIREMENT.match(line)
        if match is None or "extra ==" in line:
            continue
        name, least = match[1], match[2]
        found = installed(name)
        if found is None:
            yield DoctorCheck(name, "problem", "not installed", f"install it with: pip install '{name}>={least}'")
        elif version_numbers(found) < version_numbers(least):
            advice = f"update it with: pip install '{name}>={least}'"
            yield DoctorCheck(name, "problem", f"{found}, and {least} or later is needed", advice)
        else:
            yield DoctorCheck(name, "ok", found)


def _check_nested_loops() -> Iterator[DoctorCheck]:
    kernel, old, new = (installed(name) for name in ("ipykernel", "nest-asyncio", "nest-asyncio2"))
    if kernel is None:
        return
    yield DoctorCheck("ipykernel", "ok", kernel)
    if old is not None and version_numbers(kernel) >= FIRST_KERNEL_LOSING_CELLS:
        found = f"{old} loses queued cells under ipykernel {kernel} once it is applied"
        advice = "do not apply it; pmlive needs none, and %pmlive nest has another"
        yield DoctorCheck("nest-asyncio", "warning", found, advice)
    if new is not None and version_numbers(new) < FIRST_NEST_WITHOUT_LOSS:
        found = f"{new} may lose queued cells"
        yield DoctorCheck("nest-asyncio2", "warning", found, "update it with: pip install 'nest-asyncio2>=1.7.4'")


def _check_disk(folder: Path) -> Iterator[DoctorCheck]:
    """Check that recordings can be written to their default folder, without leaving anything there."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        advice = "give record another folder with --out, or set PMLIVE_DATA_DIR"
        yield DoctorCheck("disk", "problem", f"{folder} cannot be written: {error.strerror}", advice)
        return
    state = "problem" if free < _TOO_LITTLE_SPACE else "warning" if free < _LITTLE_SPACE else "ok"
    advice = "" if state == "ok" else "make room, or record onto another disk with --out"
    yield DoctorCheck("disk", state, f"{folder} can be written, {format_size(free)} free", advice)


def _check_recipients(variables: Variables, origin: Origin) -> DoctorCheck | None:
    """Return a problem if an address that gets the credentials is from a ``.env`` that did not set them."""
    addresses = Venue.from_environment(variables)
    try:
        for field in _WITH_CREDENTIALS:
            addresses.check_recipient(field, origin)
    except AuthError as error:
        return DoctorCheck("credentials", "problem", str(error), "look at what else that folder brought along")
    return None


def _check_wallet() -> DoctorCheck:
    if importlib.util.find_spec("eth_account") is None:
        found = f"{_WALLET} is set, but eth-account, which reads it, is not installed"
        return DoctorCheck("credentials", "problem", found, "install it with: pip install 'pmlive[auth]'")
    return DoctorCheck("credentials", "ok", f"{_WALLET} is set; the others are derived from it when needed")


async def _check_network(where: Venue) -> list[DoctorCheck]:
    """Send one request to every address of the venue, and compare the clocks."""
    proxy = _check_proxy(where)
    if proxy.state == "problem":
        return [proxy]
    async with Catalogue(where, policy=Policy(timeout=_TIMEOUT_S, attempts=1)) as catalogue:
        checks = await asyncio.gather(
            _check_catalogue(catalogue, where.gamma),
            _check_exchange(catalogue, where.clob),
            _check_socket("books", f"{where.clob_ws}/market", "problem"),
            _check_socket("own orders", f"{where.clob_ws}/user", "warning"),
            _check_socket("activity", where.live_data, "warning"),
            _check_socket("price stream", where.prices_ws, "warning"),
        )
    return [proxy, *(check for each in checks for check in each)]


def _check_proxy(where: Venue) -> DoctorCheck:
    """Find the proxies to the venue, and check that the certificates can be read."""
    addresses = (where.clob, where.gamma, where.clob_ws, where.live_data, where.prices_ws)
    try:
        proxies = [proxy_for(address) for address in addresses]
        if any(address.startswith(("https:", "wss:")) for address in addresses):
            tls()
    except FeedError as error:
        return DoctorCheck("proxy", "problem", str(error), "nothing was asked of the venue")
    shown = dict.fromkeys("none" if proxy is None else proxy.shown for proxy in proxies)
    return DoctorCheck("proxy", "ok", ", ".join(shown))


async def _check_catalogue(catalogue: Catalogue, url: str) -> list[DoctorCheck]:
    try:
        await catalogue.search("election")
    except (FeedError, ProtocolError) as error:
        return [DoctorCheck("catalogue", "problem", str(error))]
    return [DoctorCheck("catalogue", "ok", f"{url} answers")]


async def _check_exchange(catalogue: Catalogue, url: str) -> list[DoctorCheck]:
    before = time.time()
    try:
        venue_time = await catalogue.time()
    except (FeedError, ProtocolError) as error:
        unknown = DoctorCheck("clock", "warning", "not compared, since the venue did not give its time")
        return [DoctorCheck("exchange", "problem", str(error)), unknown]
    return [DoctorCheck("exchange", "ok", f"{url} answers"), _check_clock(venue_time, before, time.time())]


def _check_clock(venue_time: float, before: float, after: float) -> DoctorCheck:
    # The venue answers in whole seconds, so its time is half a second later on average.
    skew = (before + after) / 2 - (venue_time + 0.5)
    if abs(skew) <= _MOST_SKEW_S:
        return DoctorCheck("clock", "ok", f"within {_MOST_SKEW_S:g} s of the venue's")
    found = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the venue's"
    return DoctorCheck(
        "clock", "warning", found, "receive times are off by as much; let the system set its clock (NTP)"
    )


async def _check_socket(name: str, url: str, if_refused: CheckState) -> list[DoctorCheck]:
    problem = await probe(url, timeout=_TIMEOUT_S)
    if problem is None:
        return [DoctorCheck(name, "ok", f"{url} answers")]
    return [DoctorCheck(name, if_refused, problem, _NETWORK_ADVICE)]
