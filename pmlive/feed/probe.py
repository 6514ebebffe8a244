"""Whether a socket can be had at all: one handshake, as a connection makes it, and nothing sent."""

from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from pmlive.settings import is_loopback

__all__ = ["probe"]

_SIGN_IN = 401


class _Direct(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def probe(url: str, *, timeout: float) -> str | None:  # noqa: ASYNC109  # the handshake has its own deadline
    """Dial once; give what went wrong, or None where the server answered as a socket does.

    A refusal of who is not signed in is an answer too.
    """
    try:
        async with _Direct(
            url,
            open_timeout=timeout,
            close_timeout=1,
            ping_interval=None,
            compression=None,
            proxy=None if is_loopback(url) else True,
        ):
            return None
    except InvalidStatus as error:
        status = error.response.status_code
        return None if status == _SIGN_IN else f"{urlsplit(url).netloc} answered HTTP {status}"
    except TimeoutError:
        return f"{urlsplit(url).netloc} did not answer in {timeout:g} s"
    except (OSError, EOFError, WebSocketException) as error:
        return f"{urlsplit(url).netloc}: {error or type(error).__name__}"
