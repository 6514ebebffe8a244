"""Proxies and certificates for sockets and HTTPS, as the environment sets them.

The variables are the usual ones: ``HTTPS_PROXY`` (for sockets ``WSS_PROXY`` before it), ``HTTP_PROXY`` for what is not
encrypted, then ``ALL_PROXY``. ``NO_PROXY`` lists what is reached directly. Of a name in both cases the lower one wins.
Loopback is never reached through a proxy. ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` replace the trusted certificates.
"""

import functools
import importlib.util
import ipaddress
import os
import re
import ssl
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, TypedDict
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec

from pmlive.errors import FeedError
from pmlive.settings import Secret, is_loopback

if TYPE_CHECKING:
    import httpx

__all__ = ["Proxy", "for_https", "proxy_for", "tls"]

_VARIABLES = {
    "wss": ("WSS_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    "ws": ("WS_PROXY", "HTTP_PROXY", "ALL_PROXY"),
    "https": ("HTTPS_PROXY", "ALL_PROXY"),
    "http": ("HTTP_PROXY", "ALL_PROXY"),
}
_PORTS = {"wss": 443, "https": 443, "ws": 80, "http": 80}
_PROXY_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
# Schemes of SOCKS proxies, mapped to the one with which the proxy resolves names.
_ALIASES = {"socks": "socks5h", "socks5": "socks5h"}
_SOCKS = ("python_socks", "socksio")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,19}://")
_FORM = "http://[user:password@]host:port, or https, socks5 or socks5h instead of http"

_Host: TypeAlias = str | ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxy(msgspec.Struct, frozen=True):
    """A proxy: its address, with user and password, and the variable that sets it."""

    address: Secret
    variable: str

    @property
    def shown(self) -> str:
        """The proxy without its password."""
        return f"{_masked(self.address.reveal())} ({self.variable})"

    def __repr__(self) -> str:
        """Show the proxy without its password."""
        return f"Proxy({self.shown})"


def proxy_for(url: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy for an address; None if it is reached directly.

    Raises:
        FeedError: a variable has a value that cannot be used; the message names it.

    >>> proxy_for("wss://venue.example/ws", {"HTTPS_PROXY": "http://me:secret@10.0.0.1:3128"})
    Proxy(http://***@10.0.0.1:3128 (HTTPS_PROXY))
    >>> proxy_for("https://venue.example", {"ALL_PROXY": "http://10.0.0.1:3128", "NO_PROXY": ".example"})
    """
    if is_loopback(url):
        return None
    given = _proxy_variables(os.environ if environment is None else environment)
    parts = urlsplit(url)
    found = next(((name, given[name]) for name in _VARIABLES[parts.scheme] if given.get(name)), None)
    if found is None or _is_excepted(parts, given.get("NO_PROXY", "")):
        return None
    return _proxy(*found)


def _proxy_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by their upper-case names, or the system's settings if none is set."""
    names = {name for each in _VARIABLES.values() for name in each} | {"NO_PROXY"}
    given = {name: environment[name].strip() for name in names if name in environment}
    given |= {name: environment[name.lower()].strip() for name in names if name.lower() in environment}
    if environment is os.environ and not any(given.values()):
        return {f"{scheme.upper()}_PROXY": address for scheme, address in urllib.request.getproxies().items()}
    return given


def _proxy(variable: str, value: str) -> Proxy:
    parts = _split(value if "://" in value else f"http://{value}")
    scheme = "" if parts is None else _ALIASES.get(parts.scheme, parts.scheme)
    if parts is None or scheme not in _PROXY_PORTS:
        raise FeedError(f"{variable} must have the form {_FORM}; it is {_masked(value)}")
    lacking = [name for name in _SOCKS if importlib.util.find_spec(name) is None]
    if scheme.startswith("socks") and lacking:
        raise FeedError(
            f"{variable} names a SOCKS proxy, {_masked(value)}, which needs packages that are not installed; "
            "run: pip install 'pmlive[socks]', or name an HTTP proxy"
        )
    return Proxy(Secret(_address(scheme, parts)), variable)


def _address(scheme: str, parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = _PROXY_PORTS[scheme] if parts.port is None else parts.port
    if parts.username is None:
        return f"{scheme}://{host}:{port}"
    user, password = (quote(unquote(each or ""), safe="") for each in (parts.username, parts.password))
    return f"{scheme}://{user}:{password}@{host}:{port}"


def _split(value: str) -> SplitResult | None:
    try:
        parts = urlsplit(value)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        return None
    well_formed = value.isascii() and value.isprintable() and not re.search(r"[\s\\]", value)
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    return parts if usable and well_formed and not beyond else None


def _masked(value: str) -> str:
    """Return an address without user and password, and at most a host and a port of what is not an address."""
    before, at, place = value.rpartition("@")
    scheme = _SCHEME.match(value)
    if scheme is not None and not before:
        place = place[scheme.end() :]
    place = re.split(r"[/?#]", place)[0]
    host, colon, port = place.rpartition(":") if "]" not in place.rpartition(":")[2] else (place, "", "")
    if not colon:
        host, port = place, ""
    elif not port.isdigit():
        port = "?"
    host = re.sub(r"[^A-Za-z0-9.:\[\]_-]", "?", host)[:80]
    return f"{scheme[0] if scheme else ''}{'***@' if at else ''}{host}{colon}{port}" or "nothing"


# --- NO_PROXY ---


def _is_excepted(parts: SplitResult, exceptions: str) -> bool:
    host = _host((parts.hostname or "").rstrip("."))
    port = parts.port or _PORTS[parts.scheme]
    entries = [entry.lower() for entry in re.split(r"[,\s]+", exceptions) if entry]
    return any(_matches(entry, host, port) for entry in entries)


def _matches(entry: str, host: _Host, port: int) -> bool:
    """Check whether an entry of ``NO_PROXY``, a name, suffix, address or network with or without a port, matches."""
    name, only_port = _entry(entry.rpartition("://")[2])
    if only_port is not None and only_port != port:
        return False
    if name == "*":
        return True
    if isinstance(host, str):
        suffix = name.removeprefix("*").lstrip(".").rstrip(".")
        return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))
    return host in _network(name, entry)


def _entry(entry: str) -> tuple[str, int | None]:
    """Split an entry into what it names and a port."""
    found = re.fullmatch(r"\[([^\[\]]+)\](/\d+)?(?::(\d+))?", entry)
    if found:
        return found[1] + (found[2] or ""), int(found[3]) if found[3] else None
    if "[" in entry or "]" in entry:
        raise FeedError(f"NO_PROXY has an entry that is not a host, address or network: {entry[:80]!r}")
    name, colon, port = entry.partition(":")
    if not colon or ":" in port:
        return entry, None
    if not (port.isascii() and port.isdigit()):
        raise FeedError(f"NO_PROXY has an entry whose port is not a number: {entry[:80]!r}")
    return name, int(port)


def _network(name: str, entry: str) -> "ipaddress.IPv4Network | ipaddress.IPv6Network | tuple[()]":
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        if "/" in name:
            raise FeedError(f"NO_PROXY has an entry that is not a network: {entry[:80]!r}") from None
        return ()


def _host(text: str) -> _Host:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


# --- for httpx ---


class _Https(TypedDict):
    proxy: "httpx.Proxy | None"
    verify: ssl.SSLContext
    trust_env: bool


def for_https(url: str) -> _Https:
    """Return the arguments that make an httpx client use these proxies and certificates, and read no variables.

    Raises:
        FeedError: a variable has a value that cannot be used; the message names it.
    """
    import httpx  # heavy

    found = proxy_for(url)
    encrypted = url.startswith("https:")
    proxy = None
    if found is not None:
        address = found.address.reveal()
        proxy = httpx.Proxy(address, ssl_context=tls() if address.startswith("https:") else None)
    # Plain HTTP needs no certificates, and reading them takes a while.
    return {"proxy": proxy, "verify": tls() if encrypted else _context_without_certificates(), "trust_env": False}


# --- certificates ---


def tls() -> ssl.SSLContext:
    """Return the TLS context for sockets and HTTPS.

    Unless a variable is set, it trusts the system's certificates and those of certifi.

    Raises:
        FeedError: what ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names does not exist or cannot be used.
    """
    return _context(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


# Reading the certificates takes longer than most requests.
@functools.lru_cache(maxsize=8)
def _context(file: str, folder: str) -> ssl.SSLContext:
    # Unlike Path, these take a name that no file can have for one that is not there.
    if folder and not any(os.path.isdir(each) for each in folder.split(os.pathsep)):  # noqa: PTH112
        raise FeedError(
            f"SSL_CERT_DIR names {folder[:300]!r}, which is not a folder; unset it or name one with certificates"
        )
    if file and not os.path.isfile(file):  # noqa: PTH113
        raise FeedError(
            f"SSL_CERT_FILE names {file[:300]!r}, which is not a file; unset it or name one with certificates"
        )
    if not file and not folder:
        return _system_context()
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except OSError as error:
        name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
        raise FeedError(
            f"{name} names {file or folder!r}, which cannot be read as certificates ({error}); unset it or name another"
        ) from error


def _context_without_certificates() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _system_context() -> ssl.SSLContext:
    import certifi  # comes with httpx

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
