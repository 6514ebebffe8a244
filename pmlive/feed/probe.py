"""Whether a socket can be had at all: one handshake, as a connection makes it, and nothing sent."""

from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException

from pmlive.errors import FeedError
from pmlive.feed.dialling import dial
from pmlive.proxies import proxy_for

__all__ = ["probe"]

_SIGN_IN = 401


async def probe(url: str, *, timeout: float) -> str | None:  # noqa: ASYNC109  # the handshake has its own deadline
    """Dial once; give what went wrong, or None where the server answered as a socket does.

    A refusal of who is not signed in is an answer too.
    """
    try:
        async with dial(url, proxy_for(url), open_timeout=timeout):
            return None
    except InvalidStatus as error:
        status = error.response.status_code
        return None if status == _SIGN_IN else f"{urlsplit(url).netloc} answered HTTP {status}"
    except TimeoutError:
        return f"{urlsplit(url).netloc} did not answer in {timeout:g} s"
    except FeedError as error:
        return str(error)
    except (OSError, EOFError, WebSocketException) as error:
        return f"{urlsplit(url).netloc}: {error or type(error).__name__}"
