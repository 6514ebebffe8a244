"""Who is let in over HTTP: whoever has the token and asks this computer by its own name, before anything else is done.

Whatever listens on this computer can be reached by its other users, and by pages in a browser. The token keeps the
former out. The latter do not have it either; that strange names and origins are refused, too, is a second lock.
"""

import hmac
import re
from collections.abc import Iterable

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Gate"]

_SCHEME = b"bearer"
# Whole and exact: a prefix would take http://localhost:80@evil.example for this computer.
_HOST = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_ORIGIN = re.compile(rb"https?://" + _HOST.pattern, re.IGNORECASE)

# What is refused costs as little as can be: nothing more is read from that connection.
_CLOSE = {"connection": "close"}


class Gate:
    """Lets requests through to a server.

    Args:
        app: what those get to who are let in.
        token: what every request must bear.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope["headers"])
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> PlainTextResponse | None:
        given = _Headers(headers)
        if not self._bears_token(given.all(b"authorization")):
            challenge = {"www-authenticate": 'Bearer realm="pmlive"'}
            text = "this server wants its bearer token with every request; serve_mcp() tells it to whoever started it"
            return PlainTextResponse(text, 401, challenge | _CLOSE)
        hosts, origins = given.all(b"host"), given.all(b"origin")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            return PlainTextResponse("this is not the name of this computer", 421, _CLOSE)
        if len(origins) > 1 or not all(_ORIGIN.fullmatch(origin) for origin in origins):
            return PlainTextResponse("pages from elsewhere get no answer", 403, _CLOSE)
        return None

    def _bears_token(self, given: list[bytes]) -> bool:
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        return scheme.lower() == _SCHEME and hmac.compare_digest(token.strip(b" "), self._token)


class _Headers:
    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = list(headers)

    def all(self, name: bytes) -> list[bytes]:
        return [value for its, value in self._headers if its.lower() == name]
