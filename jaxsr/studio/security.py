"""The guard in front of all pages: who may ask, from where, and how much.

- The name in `Host` must be one of ours, so that a foreign page cannot reach a server on this machine under its own
  name (DNS rebinding).
- A request that changes something needs a token of this process in a header. A page of another origin can send
  requests with a browser's cookies, but can neither read the token nor set the header (CSRF).
- A server that others can reach demands a secret, as `Authorization: Bearer SECRET` or as a cookie from the entrance.
- Bodies are counted while they arrive.
- Every answer forbids scripts that are not our own files, frames, and guesses about types.
"""

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LEAST_SECRET = 16
"""The least characters of a secret."""
COOKIE = "jaxsr-studio"
CSRF_HEADER = "x-jaxsr-token"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
ENTRANCE = "/login"
_SAFE = ("GET", "HEAD")
_LOCAL = ("127.0.0.1", "localhost", "::1")


class TooLargeError(ValueError):
    """A body of more bytes than are allowed."""


@dataclass(frozen=True)
class Guard:
    """The rules of one process.

    Attributes:
        hosts: names that `Host` may have, without a port, in lower case.
        secret: what a client must know; None where only this machine can reach the server.
        most_bytes: most bytes of a body.
        csrf: the token that changes need; a new one for every process.
        session: value of the cookie of a client that has shown the secret.
    """

    hosts: frozenset[str]
    secret: str | None
    most_bytes: int
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def knows(self, given: str) -> bool:
        """Return whether a text is the secret, in a time that does not tell how much of it is right."""
        return self.secret is not None and hmac.compare_digest(given.encode(), self.secret.encode())


def make_guard(host: str, secret: str | None, allowed: Iterable[str], most_bytes: int) -> Guard:
    """Make the guard of a server that listens on `host`, and may be called by the names `allowed` too."""
    wildcard = host in ("0.0.0.0", "::")
    names = {*_LOCAL, *(name.lower() for name in allowed), *(() if wildcard else (host.lower(),))}
    return Guard(frozenset(names), secret, most_bytes)


def host_name(header: str) -> str:
    """Return the name in a `Host` header, without its port and brackets, in lower case."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def guarded(application: Application, guard: Guard) -> Application:
    """Put the guard in front of an ASGI application."""

    async def checked(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await application(scope, receive, send)
            return
        send = _with_headers(send)
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        if refusal := _refuse(scope, headers, guard):
            await _answer(send, *refusal)
            return
        await application(scope, _counted(receive, guard.most_bytes), send)

    return checked


def _refuse(scope: Message, headers: list[tuple[str, str]], guard: Guard) -> tuple[int, str] | None:
    """Return the status and the sentence of a refusal, or None."""
    found = dict(headers)
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) != 1 or host_name(hosts[0]) not in guard.hosts:
        return 421, "this server does not answer to that name; start it with --allow-host NAME to use another."
    if (length := found.get("content-length", "0")) and (not length.isdecimal() or int(length) > guard.most_bytes):
        return 413, too_large(guard.most_bytes)
    bearer = guard.knows(found.get("authorization", "").removeprefix("Bearer "))
    if scope["path"] == ENTRANCE or (_is_public(scope["path"]) and scope["method"] in _SAFE):
        return None
    if guard.secret is not None and not bearer and not _has_session(found.get("cookie", ""), guard):
        return 401, "this server demands its token: send it as  Authorization: Bearer TOKEN, or open its page first."
    if scope["method"] in _SAFE or bearer:
        return None
    if not hmac.compare_digest(found.get(CSRF_HEADER, "").encode(), guard.csrf.encode()):
        return 403, f"a request that changes something needs the header {CSRF_HEADER}; GET /api/info tells its value."
    return None


def _is_public(path: str) -> bool:
    """Return whether everybody may read a path: the page, which leads to the entrance, and its fixed files."""
    return path == "/" or (path.startswith("/static/") and ".." not in path)


def is_known(cookie: str, guard: Guard) -> bool:
    """Return whether a client may see the page: nobody needs to show anything, or its cookie shows that it has."""
    return guard.secret is None or _has_session(cookie, guard)


def too_large(most_bytes: int) -> str:
    """Return the sentence for a body that is too large."""
    return f"the file is larger than {most_bytes / 1e6:.4g} MB; reduce it, or start the server with --max-megabytes N."


def _has_session(cookie: str, guard: Guard) -> bool:
    try:
        found = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return False
    return found is not None and hmac.compare_digest(found.value.encode(), guard.session.encode())


def _counted(receive: Receive, most_bytes: int) -> Receive:
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > most_bytes:
            raise TooLargeError(too_large(most_bytes))
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name for name, _ in message.get("headers", ())}
            extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            extra += [(b"cache-control", b"no-store")] * (b"cache-control" not in own)
            message["headers"] = [*message.get("headers", ()), *extra]
        await send(message)

    return with_headers


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"www-authenticate", b"Bearer")] * (status == 401) + [(b"connection", b"close")] * (status == 413)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
