"""The user's credentials at the venue, kept so that no log, traceback, notebook, recording or copy can show them.

Market data needs none of this. The three values are sent as they are, by the user channel and by the price streams; the
wallet's private key is read for nothing but deriving the three.
"""

import re
from typing import TYPE_CHECKING, NoReturn

from pmlive.errors import AuthError
from pmlive.logs import get_logger
from pmlive.settings import Origin, Secret, Variables, Venue

if TYPE_CHECKING:
    from typing import Self  # only annotations use it

__all__ = ["Credentials"]

logger = get_logger(__name__)

# Each field of Credentials, and the variables that may hold it.
_SOURCES = {
    "api_key": ("POLYMARKET_API_KEY",),
    "secret": ("POLYMARKET_SECRET", "POLYMARKET_API_SECRET"),
    "passphrase": ("POLYMARKET_PASSPHRASE",),
}
_ISSUED = {
    "api_key": (re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "a UUID"),
    "secret": (re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}"), "base64 text"),
    "passphrase": (re.compile(r"[!-~]+"), "text without spaces"),
}
_SENDABLE = re.compile(r"[!#-&(-;=?-~]+")
_WALLET_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class Credentials:
    """The API key, secret and passphrase of one account of the venue."""

    __slots__ = ("api_key", "origin", "passphrase", "secret")

    def __init__(
        self, api_key: str | Secret, secret: str | Secret, passphrase: str | Secret, *, origin: Origin | None = None
    ) -> None:
        """Check and keep the three; ``origin`` says where they were read.

        Raises:
            AuthError: a value that cannot be a credential; the message says the form that is expected.
        """
        self.api_key = _checked(Secret(api_key), "api_key")
        self.secret = _checked(Secret(secret), "secret")
        self.passphrase = _checked(Secret(passphrase), "passphrase")
        self.origin = origin or Origin(())

    @classmethod
    def from_environment(cls, variables: Variables | None = None, *, venue: Venue | None = None) -> "Self | None":
        """Read the credentials of the environment; without them, derive them from the wallet that is set there.

        Deriving asks the venue over HTTPS and waits for it. None means that the environment names neither.

        Raises:
            AuthError: a variable is missing or malformed, the venue or the wallet refused, or a ``.env`` that did not
                give the wallet names the address that would be asked.
            FeedError: the venue cannot be reached.
        """
        given = Variables.read() if variables is None else variables
        if any(name in given for names in _SOURCES.values() for name in names):
            return cls(**_given(given), origin=given.origin(*_named(given)))
        if "POLYGON_PRIVATE_KEY" not in given:
            return None
        from pmlive._wallet import derive

        where, origin = venue or Venue.from_environment(given), given.origin("POLYGON_PRIVATE_KEY")
        # With the signature, whoever is asked could ask the venue in the wallet's name.
        where.check_recipient("clob", origin)
        return cls(*derive(given, where), origin=origin)

    def __repr__(self) -> str:
        """Hide the credentials."""
        return "Credentials('***')"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse to be pickled or copied.

        Raises:
            TypeError: always.
        """
        raise TypeError("credentials cannot be pickled or copied")


def _named(variables: Variables) -> list[str]:
    firsts = (next((name for name in names if name in variables), None) for names in _SOURCES.values())
    return [name for name in firsts if name is not None]


def _given(variables: Variables) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for field, names in _SOURCES.items():
        name = next((name for name in names if name in variables), None)
        if name is None:
            raise AuthError(f"{' or '.join(names)} is not set; the three POLYMARKET_… values are needed together")
        found[field] = _checked(Secret(variables[name]), field, name)
    return found


def _checked(value: Secret, field: str, name: str | None = None) -> Secret:
    pattern, form = _ISSUED[field]
    if not isinstance(value.reveal(), str) or not _SENDABLE.fullmatch(value.reveal()):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise AuthError(f"{name or field} must be {form}, without quotes or spaces")
    if field != "passphrase" and _WALLET_KEY.fullmatch(value.reveal()):
        raise AuthError(f"{name or field} must be {form}; never put a wallet's private key there")
    if not pattern.fullmatch(value.reveal()):
        logger.warning("%s is not %s: the venue closes such connections without saying why", name or field, form)
    return value
