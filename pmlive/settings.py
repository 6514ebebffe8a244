"""Settings from the environment and the working directory's ``.env``: the venue's addresses, and where files go.

An explicit argument wins over a variable, a variable over ``.env``. Settings are read when an object is made from them,
and not again. Only the variables named here are read, and none of their values is ever shown.

A ``.env`` may come from a stranger, in a folder that was cloned or unpacked. So an address that it sets causes a
warning, and credentials are sent to that address only if the same file sets them, too.
"""

import errno
import hmac
import ipaddress
import os
import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NoReturn, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec
import platformdirs

from pmlive.errors import AuthError

__all__ = [
    "NAMES",
    "SECRET_NAMES",
    "AddressField",
    "Origin",
    "Secret",
    "Variables",
    "Venue",
    "cache_dir",
    "data_dir",
    "is_loopback",
]

AddressField: TypeAlias = Literal["clob_ws", "live_data", "prices_ws", "clob", "gamma", "data"]

# The fields of Venue, each with the variable that sets it and the scheme it must have.
_ADDRESSES: dict[AddressField, tuple[str, str]] = {
    "clob_ws": ("PMLIVE_CLOB_WS_URL", "wss"),
    "live_data": ("PMLIVE_LIVE_DATA_URL", "wss"),
    "prices_ws": ("PMLIVE_PRICES_WS_URL", "wss"),
    "clob": ("PMLIVE_CLOB_URL", "https"),
    "gamma": ("PMLIVE_GAMMA_URL", "https"),
    "data": ("PMLIVE_DATA_URL", "https"),
}
_UNENCRYPTED = {"wss": "ws", "https": "http"}

SECRET_NAMES = (
    "POLYGON_PRIVATE_KEY",
    "POLYMARKET_API_KEY",
    "POLYMARKET_API_SECRET",
    "POLYMARKET_PASSPHRASE",
    "POLYMARKET_SECRET",
)
NAMES = (
    *SECRET_NAMES,
    "PMLIVE_CACHE_DIR",
    "PMLIVE_DATA_DIR",
    "POLYGON_ADDRESS",
    *(name for name, _ in _ADDRESSES.values()),
)

_ENTRY = re.compile(r"\s*(?:export\s+)?(?P<name>\w+)\s*=\s*(?P<value>.*?)\s*", re.ASCII)
_IGNORED = re.compile(r"\s*(?:#.*)?$")
_COMMENT_AFTER = re.compile(r"\s+#.*")
_READABLE_BY_OTHERS = 0o077
_LARGEST_FILE = 1 << 20

# Warnings about addresses that a ``.env`` sets, each of which is issued once per process.
_warned: set[str] = set()


class Origin(msgspec.Struct, frozen=True):
    """Where a setting was read: the variables, and the ``.env`` that set them all, if one did."""

    names: tuple[str, ...]
    file: str | None = None


class Secret:
    """A text that only ``reveal`` returns.

    Printing and formatting show asterisks; pickling, copying and encoding raise; comparing takes constant time.

    >>> Secret("hunter2"), f"{Secret('hunter2')}"
    (Secret('***'), '***')
    """

    __slots__ = ("__text",)
    __hash__ = None  # pyright: ignore[reportAssignmentType] - a hash would tell equal secrets apart from others

    def __init__(self, text: "str | Secret") -> None:
        """Keep a text, or that of another secret."""
        self.__text = text.reveal() if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """Return the text: call it where the text is sent, and assign the result to no variable."""
        return self.__text

    def __repr__(self) -> str:
        """Return asterisks in place of the text."""
        return "Secret('***')"

    def __str__(self) -> str:
        """Return asterisks."""
        return "***"

    def __format__(self, spec: str) -> str:
        """Return asterisks, whatever the format."""
        return "***"

    def __eq__(self, other: object) -> bool:
        """Compare with another secret, in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.reveal().encode())

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied.

        Raises:
            TypeError: always.
        """
        raise TypeError("a secret cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        """Refuse to show the state.

        Raises:
            TypeError: always.
        """
        raise TypeError("a secret cannot be pickled or copied")


class Variables(Mapping[str, str]):
    """The variables that are set, an empty one not counting; the representation shows their names only."""

    __slots__ = ("_files", "_values")

    def __init__(self, values: Mapping[str, str], files: Mapping[str, str] | None = None) -> None:
        """Keep the variables that pmlive knows; ``files`` maps those that a file set to its path."""
        self._values = {name: values[name].strip() for name in NAMES if values.get(name, "").strip()}
        self._files = dict(files or {})

    @classmethod
    def read(cls, folder: Path | None = None) -> Self:
        """Read the environment and, for what it lacks, ``.env`` in a folder (by default the working directory)."""
        path = (folder or Path.cwd()).absolute() / ".env"
        in_file = _dotenv(path)
        return cls({**in_file, **os.environ}, {name: str(path) for name in in_file if name not in os.environ})

    def origin(self, *names: str) -> Origin:
        """Return where variables were read; a file counts only if it set all of them."""
        files = {self._files.get(name) for name in names}
        return Origin(names, files.pop() if len(files) == 1 else None)

    def __getitem__(self, name: str) -> str:
        """Return the value of a variable."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the variables that are set."""
        return len(self._values)

    def __repr__(self) -> str:
        """Return the names without the values."""
        return f"Variables({', '.join(self._values)})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied.

        Raises:
            TypeError: always.
        """
        raise TypeError("settings may hold secrets and cannot be pickled or copied")


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses of a venue, by default Polymarket's.

    Addresses must be encrypted; plain ``ws://`` and ``http://`` are accepted for loopback addresses only.

    >>> Venue(clob="http://127.0.0.1:8080/").clob
    'http://127.0.0.1:8080'
    """

    clob_ws: str = "wss://ws-subscriptions-clob.polymarket.com/ws"
    live_data: str = "wss://ws-live-data.polymarket.com"
    prices_ws: str = "wss://ws-live-v2.polymarket.com/ws"
    clob: str = "https://clob.polymarket.com"
    gamma: str = "https://gamma-api.polymarket.com"
    data: str = "https://data-api.polymarket.com"
    # The addresses that a ``.env`` set, each with its path.
    files: tuple[tuple[AddressField, str], ...] = ()

    def __post_init__(self) -> None:
        """Check each address.

        Raises:
            ValueError: an address is neither encrypted nor loopback, or malformed.
        """
        for field in _ADDRESSES:
            msgspec.structs.force_setattr(self, field, _checked(field, getattr(self, field)))

    @classmethod
    def from_environment(cls, variables: Variables | None = None, **addresses: str) -> Self:
        """Return the addresses passed here, else those of the environment, else Polymarket's.

        An address that a ``.env`` sets causes a warning, once per process.

        Raises:
            ValueError: an address cannot be used; the message names the variable.
        """
        given = Variables.read() if variables is None else variables
        named: dict[AddressField, str] = {
            field: name for field, (name, _) in _ADDRESSES.items() if name in given and field not in addresses
        }
        files: list[tuple[AddressField, str]] = []
        for field, name in named.items():
            if (file := given.origin(name).file) is not None:
                files.append((field, file))
        venue = cls(**{field: given[name] for field, name in named.items()}, **addresses, files=tuple(files))
        venue._warn_of_files()
        return venue

    def check_recipient(self, field: AddressField, origin: Origin) -> None:
        """Check that credentials may be sent to an address: if a ``.env`` set it, they must come from the same file.

        Raises:
            AuthError: they may not; the message says where both come from and what to do.
        """
        file = self._redirecting().get(field)
        if file is None or file == origin.file:
            return
        name, whose = _ADDRESSES[field][0], ", ".join(origin.names) or "the credentials"
        raise AuthError(
            f"{name} comes from {file}, and {whose} from elsewhere; nothing was sent, since an address of a .env gets "
            f"credentials of the same file only; if the address is yours, set {name} in the environment or pass "
            "venue=, otherwise remove it from that file"
        )

    def _redirecting(self) -> dict[AddressField, str]:
        """Return the addresses other than Polymarket's that a file set."""
        return {field: file for field, file in self.files if getattr(self, field) != getattr(Venue(), field)}

    def _warn_of_files(self) -> None:
        for field, file in self._redirecting().items():
            address = _displayable(_split(getattr(self, field)))
            text = f"{_ADDRESSES[field][0]} comes from {file}: {address} is asked instead of {getattr(Venue(), field)}"
            if text not in _warned:
                _warned.add(text)
                warnings.warn(text, stacklevel=3)


def data_dir(variables: Variables | None = None) -> Path:
    """Return the default folder of recordings, which may not exist yet."""
    given = Variables.read() if variables is None else variables
    if "PMLIVE_DATA_DIR" in given:
        return Path(given["PMLIVE_DATA_DIR"]).expanduser()
    return platformdirs.user_data_path("pmlive", appauthor=False)


def cache_dir(variables: Variables | None = None) -> Path:
    """Return the folder of what can be requested again, which may not exist yet."""
    given = Variables.read() if variables is None else variables
    if "PMLIVE_CACHE_DIR" in given:
        return Path(given["PMLIVE_CACHE_DIR"]).expanduser()
    return platformdirs.user_cache_path("pmlive", appauthor=False)


def is_loopback(url: str) -> bool:
    """Check whether an address never leaves this computer.

    >>> is_loopback("http://127.0.0.1:8080"), is_loopback("https://127.0.0.1.example.com")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(field: AddressField, url: object) -> str:
    name, scheme = _ADDRESSES[field]
    if not isinstance(url, str):
        raise TypeError(f"{field} ({name}) must be text, not {type(url).__name__}")
    parts = _split(url)
    if parts is None or not _acceptable(parts, scheme):
        raise ValueError(
            f"{field} ({name}) must have the form {scheme}://host[:port][/path], without user, password or query; "
            f"{_UNENCRYPTED[scheme]}:// is accepted for loopback addresses only; given: {_displayable(parts)}"
        )
    return url.strip().rstrip("/")


def _acceptable(parts: SplitResult, scheme: str) -> bool:
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        return False
    in_clear = parts.scheme == _UNENCRYPTED[scheme] and is_loopback(parts.geturl())
    return parts.scheme == scheme or in_clear


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url.strip())
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        return None
    return parts if url.isprintable() and " " not in url.strip() else None


def _displayable(parts: SplitResult | None) -> str:
    if parts is None or not parts.scheme or not parts.hostname:
        return "something else"
    user = " with a user or password" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{parts.hostname}{user}"


def _dotenv(path: Path) -> Variables:
    try:
        # A folder of this name may be a virtual environment.
        entries, left_out = _parsed(path) if path.exists() and not path.is_dir() else (Variables({}), [])
    except OSError as error:
        warnings.warn(f"{path} was not read: {error.strerror}", stacklevel=3)
        return Variables({})
    for number in left_out:
        warnings.warn(f"{path}, line {number}, is not NAME=value and was left out", stacklevel=3)
    _warn_if_others_can_read(path, entries)
    return entries


# Separate from the warnings, which may be turned into errors: no traceback may show these lines.
def _parsed(path: Path) -> tuple[Variables, list[int]]:
    lines = _contents(path).decode("utf-8-sig", errors="replace").splitlines()
    matches = {number: _ENTRY.fullmatch(line) for number, line in enumerate(lines, 1) if not _IGNORED.match(line)}
    entries = {found["name"]: _unquoted(found["value"]) for found in matches.values() if found}
    return Variables(entries), [number for number, found in matches.items() if not found]


def _contents(path: Path) -> bytes:
    # Does not block on a pipe of this name, nor read a device or an endless file to its end.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a path cannot be opened so
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        contents = file.read(_LARGEST_FILE + 1)
    if len(contents) > _LARGEST_FILE:
        raise OSError(errno.EFBIG, f"it is larger than {_LARGEST_FILE:,} bytes")
    return contents


def _unquoted(value: str) -> str:
    if value[:1] in {"'", '"'}:
        return value[1:].partition(value[0])[0]
    return _COMMENT_AFTER.sub("", value)


def _warn_if_others_can_read(path: Path, entries: Variables) -> None:
    secret = [name for name in SECRET_NAMES if name in entries]
    if secret and os.name == "posix" and path.stat().st_mode & _READABLE_BY_OTHERS:
        warnings.warn(
            f"{path} holds {', '.join(secret)} and other users of this computer can read it; run: chmod 600 {path}",
            stacklevel=4,
        )
