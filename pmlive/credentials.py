"""The user's credentials at the venue, kept so that no log, traceback, notebook, recording or copy can show them.

Market data needs none of this. The three values are sent as they are, by the user channel and by the price streams; the
wallet's private key is read only to derive the three, which is the venue's first level of authentication, an EIP-712
signature. The key and the signature are passed to one call each, and no variable that a traceback could print keeps
them. At every level, httpx and its transport log addresses and headers of answers only, and neither holds a secret.
"""

import re
from typing import TYPE_CHECKING, NoReturn, Self

import msgspec

from pmlive.errors import AuthError, FeedError
from pmlive.logs import get_logger
from pmlive.proxies import for_https
from pmlive.settings import Origin, Secret, Variables, Venue

if TYPE_CHECKING:
    import httpx

__all__ = ["Credentials"]

logger = get_logger(__name__)

# The fields of Credentials, each with the variables that may set it.
_SOURCES = {
    "api_key": ("POLYMARKET_API_KEY",),
    "secret": ("POLYMARKET_SECRET", "POLYMARKET_API_SECRET"),
    "passphrase": ("POLYMARKET_PASSPHRASE",),
}
_FORMS = {
    "api_key": (re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "a UUID"),
    "secret": (re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}"), "base64 text"),
    "passphrase": (re.compile(r"[!-~]+"), "text without spaces"),
}
_SENDABLE = re.compile(r"[!#-&(-;=?-~]+")
_WALLET_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")

_EIP712_DOMAIN = {"name": "ClobAuthDomain", "version": "1", "chainId": 137}
_EIP712_TYPES = {
    "ClobAuth": [
        {"name": "address", "type": "address"},
        {"name": "timestamp", "type": "string"},
        {"name": "nonce", "type": "uint256"},
        {"name": "message", "type": "string"},
    ]
}
_EIP712_MESSAGE = "This message attests that I control the given wallet"
# The same wallet and nonce always give the same credentials.
_NONCE = 0
_TIMEOUT_S = 10.0
_KEY_DIGITS = 64
_NO_SUCH_KEY = frozenset({400, 404})
_TRY_LATER = frozenset({425, 429})


class Credentials:
    """The API key, secret and passphrase of one account of the venue."""

    __slots__ = ("api_key", "origin", "passphrase", "secret")

    def __init__(
        self, api_key: str | Secret, secret: str | Secret, passphrase: str | Secret, *, origin: Origin | None = None
    ) -> None:
        """Check and keep the three values; ``origin`` says where they were read.

        Raises:
            AuthError: a value cannot be a credential; the message says which form is expected.
        """
        self.api_key = _checked(Secret(api_key), "api_key")
        self.secret = _checked(Secret(secret), "secret")
        self.passphrase = _checked(Secret(passphrase), "passphrase")
        self.origin = origin or Origin(())

    @classmethod
    def from_environment(cls, variables: Variables | None = None, *, venue: Venue | None = None) -> Self | None:
        """Read the credentials from the environment, or derive them from the wallet that is set there.

        Deriving asks the venue over HTTPS and waits for the answer. None means that the environment sets neither.

        Raises:
            AuthError: a variable is missing or malformed, the venue refused the wallet or its key cannot sign, or the
                address that would be asked comes from a ``.env`` that did not set the wallet.
            FeedError: the venue cannot be reached.
        """
        given = Variables.read() if variables is None else variables
        if any(name in given for names in _SOURCES.values() for name in names):
            return cls(**_given(given), origin=given.origin(*_named(given)))
        if "POLYGON_PRIVATE_KEY" not in given:
            return None

        where, origin = venue or Venue.from_environment(given), given.origin("POLYGON_PRIVATE_KEY")
        # Whoever receives the signature could use it at the venue in the wallet's name.
        where.check_recipient("clob", origin)
        return cls(*_derive(given, where), origin=origin)

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
    pattern, form = _FORMS[field]
    if not isinstance(value.reveal(), str) or not _SENDABLE.fullmatch(value.reveal()):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise AuthError(f"{name or field} must be {form}, without quotes or spaces")
    if field != "passphrase" and _WALLET_KEY.fullmatch(value.reveal()):
        raise AuthError(f"{name or field} must be {form}; never put a wallet's private key there")
    if not pattern.fullmatch(value.reveal()):
        logger.warning("%s is not %s: the venue closes such connections without saying why", name or field, form)
    return value


class _SignedAddress(msgspec.Struct, frozen=True):
    address: str
    timestamp: str
    signature: Secret


class _IssuedCredentials(msgspec.Struct, rename="camel"):
    api_key: Secret
    secret: Secret
    passphrase: Secret


def _derive(variables: Variables, venue: Venue) -> tuple[Secret, Secret, Secret]:
    """Return the credentials of the wallet in the environment, which the venue creates if there are none yet.

    Raises:
        AuthError: the key or the address is malformed or wrong, eth-account is missing, or the venue refused.
        FeedError: the venue cannot be reached.
    """
    import httpx  # heavy

    _check_key(variables)
    with httpx.Client(base_url=venue.clob, timeout=_TIMEOUT_S, **for_https(venue.clob)) as client:
        statement = _signed(variables, _timestamp(client))
        _check_address(variables, statement.address)
        return _credentials_of(client, statement)


def _check_key(variables: Variables) -> None:
    if not _is_key(Secret(variables["POLYGON_PRIVATE_KEY"])):
        raise AuthError(f"POLYGON_PRIVATE_KEY must be {_KEY_DIGITS} hexadecimal digits, with or without 0x in front")


def _is_key(key: Secret) -> bool:
    hexadecimal = frozenset("0123456789abcdefABCDEF")
    return len(_digits(key)) == _KEY_DIGITS and hexadecimal.issuperset(_digits(key)) and bool(_digits(key).strip("0"))


def _digits(key: Secret) -> str:
    return key.reveal().removeprefix("0x").removeprefix("0X")


def _check_address(variables: Variables, derived: str) -> None:
    stated = variables.get("POLYGON_ADDRESS")
    if stated is not None and stated.lower() != derived.lower():
        raise AuthError(f"POLYGON_ADDRESS is not the address of POLYGON_PRIVATE_KEY, which is {derived}")


# Raises outside of the handlers, so that no error of the signer, whose frames hold the key, is attached to ours.
def _signed(variables: Variables, timestamp: str) -> _SignedAddress:
    trouble = "POLYGON_PRIVATE_KEY cannot sign: it is not a valid private key"
    try:
        return _sign(Secret(variables["POLYGON_PRIVATE_KEY"]), timestamp)
    except ImportError:
        trouble = "deriving credentials from a wallet needs eth-account; run: pip install 'pmlive[auth]'"
    except Exception:  # noqa: BLE001, S110 - its message may hold the key
        pass
    raise AuthError(trouble)


def _sign(key: Secret, timestamp: str) -> _SignedAddress:
    from eth_account import Account

    address = str(Account.from_key(_digits(key)).address)
    message = {"address": address, "timestamp": timestamp, "nonce": _NONCE, "message": _EIP712_MESSAGE}
    signed = Account.sign_typed_data(_digits(key), _EIP712_DOMAIN, _EIP712_TYPES, message)
    return _SignedAddress(address, timestamp, Secret(f"0x{bytes(signed.signature).hex()}"))


def _headers(statement: _SignedAddress) -> dict[str, str]:
    return {
        "POLY_ADDRESS": statement.address,
        "POLY_SIGNATURE": statement.signature.reveal(),
        "POLY_TIMESTAMP": statement.timestamp,
        "POLY_NONCE": str(_NONCE),
    }


def _timestamp(client: "httpx.Client") -> str:
    text = _request(client, "GET", "/time").text.strip()
    if not text.isdecimal():
        raise FeedError(f"{client.base_url} did not answer with its time; try again later")
    return text


def _credentials_of(client: "httpx.Client", statement: _SignedAddress) -> tuple[Secret, Secret, Secret]:
    answer = _request(client, "GET", "/auth/derive-api-key", statement)
    if answer.status_code in _NO_SUCH_KEY:
        answer = _request(client, "POST", "/auth/api-key", statement)
    if not answer.is_success:
        raise AuthError(f"{client.base_url} refused the wallet {statement.address} (HTTP {answer.status_code})")
    return _read_credentials(answer)


def _read_credentials(response: "httpx.Response") -> tuple[Secret, Secret, Secret]:
    try:
        answer = msgspec.json.decode(response.content, type=_IssuedCredentials, dec_hook=_to_secret)
    except msgspec.DecodeError:
        answer = None
    if answer is None:
        raise AuthError("the venue's answer to the wallet holds no credentials; try again later")
    return answer.api_key, answer.secret, answer.passphrase


def _to_secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError


def _request(
    client: "httpx.Client", method: str, path: str, statement: _SignedAddress | None = None
) -> "httpx.Response":
    import httpx  # heavy

    trouble = ""
    try:
        response = client.request(method, path, headers=None if statement is None else _headers(statement))
        if response.status_code not in _TRY_LATER and not response.is_server_error:
            return response
        trouble = f"HTTP {response.status_code}"
    except httpx.TransportError as error:
        trouble = type(error).__name__
    raise FeedError(f"{client.base_url} cannot be reached ({trouble}); check the network or try again later")
