"""Keeps foreign requests out and large bodies small, before anything is parsed."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from robustcert.errors import RobustCertError

from .errors import ForeignRequestError, WrongHostError
from .problems import problem_of
from .responses import problem_response
from .settings import is_loopback

_JSON_BYTES = 2**20
_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Guard:
    """Looks at every request before the application does.

    The service has no keys: whoever reaches it may use it. So it answers on loopback
    addresses only, to requests that name this machine (a page that rebinds its name to
    127.0.0.1 does not) and that no page of another site has caused.

    Args:
        app: the application.
        upload_prefix: paths below it take large bodies and count them themselves.
    """

    def __init__(self, app: ASGIApp, upload_prefix: str) -> None:
        self._app = app
        self._upload_prefix = upload_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _with_headers(send)
        try:
            check_origin(scope)
        except RobustCertError as error:
            await problem_response(problem_of(error))(scope, receive, answer)
            return
        if not scope["path"].startswith(self._upload_prefix):
            receive = _counted(receive)
        await self._app(scope, receive, answer)


def check_origin(scope: Scope) -> None:
    """Refuse requests from elsewhere.

    Raises:
        WrongHostError: the connection or the Host header is not this machine's.
        ForeignRequestError: a page of another site wants to change something.
    """
    headers = Headers(scope=scope)
    server = scope.get("server")
    host = _host(headers.get("host", ""))
    if server is not None and server[1] is not None and not is_loopback(server[0]):
        raise WrongHostError("The service has no access keys and answers locally only.")
    if not is_loopback(host):
        raise WrongHostError("The header Host does not name this machine.")
    foreign = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
    if foreign and scope["method"] not in _SAFE_METHODS:
        raise ForeignRequestError("A page of another site sent this request.")


def _host(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]


def _counted(receive: Receive) -> Receive:
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > _JSON_BYTES:
            raise HTTPException(413, f"The body is larger than {_JSON_BYTES} bytes.")
        return message

    return counted


def _with_headers(send: Send) -> Send:
    """Security headers on every answer; an answer's own ones stay."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
