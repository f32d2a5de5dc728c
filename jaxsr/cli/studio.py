"""Serve the page with the knob: python -m jaxsr.studio

The page is for one person on this machine. --host opens it to others, who then need a token.
"""

import argparse
import errno
import importlib.util
import logging
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jaxsr.cli.exits import exit_code, say
from jaxsr.cli.parser import Parser, program
from jaxsr.cli.shared_options import add_model, whole
from jaxsr.errors import install

LOCAL = "127.0.0.1"
PORT = 8765
SECRET = "JAXSR_STUDIO_TOKEN"
"""The variable that holds the token, out of sight of the list of processes."""
_NEEDED = ("starlette", "uvicorn")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    text = "Serve a page in which you drop a photograph, turn the knob and look, and a JSON API."
    parser = Parser(prog=program("studio"), description=text, allow_abbrev=False)
    add = parser.add_argument
    add_model(parser)
    add("--port", type=whole(0, 65535), default=PORT, metavar="N", help=f"port; 0 takes a free one (default: {PORT})")
    text = f"address to listen on, such as 0.0.0.0 for all; demands a token (default: {LOCAL}, this machine alone)"
    add("--host", default=LOCAL, metavar="ADDRESS", help=text)
    text = f"secret that clients must know, of 16 or more characters (default: the variable {SECRET})"
    add("--token", metavar="SECRET", help=text)
    text = "further name by which browsers call this server, as its host name; may be given several times"
    add("--allow-host", action="append", default=[], metavar="NAME", help=text)
    text = "most megabytes of an uploaded file (default: 64)"
    add("--max-megabytes", type=whole(1, 4096), default=64, metavar="N", help=text)
    text = "most megapixels of an uploaded picture (default: 25)"
    add("--max-megapixels", type=whole(1, 1000), default=25, metavar="N", help=text)
    add("--open", action="store_true", help="open the page in the browser")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 after Ctrl-C, 1 after one sentence on an error."""
    parser = make_parser()
    args = parser.parse_args(argv)
    args.token = args.token or os.environ.get(SECRET) or None
    if args.token is not None and len(args.token) < 16:
        parser.error("argument --token: must have 16 or more characters")
    if args.host not in (LOCAL, "localhost", "::1") and args.token is None:
        parser.error(f"argument --host: others can reach {args.host}; give a --token, or set {SECRET}")
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Load the model, and serve until Ctrl-C."""
    if lacking := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise ImportError(f"the page needs {' and '.join(lacking)}: {install('studio')}")
    from jaxsr.hub.cards import check_can_run, find_card

    card = find_card(args.model)
    check_can_run(args.model, mask=card is not None and card.needs_mask)
    with listen(args.host, args.port) as listening:
        return serve(args, listening)


def listen(host: str, port: int) -> socket.socket:
    """Take the port. Raises ValueError, naming the option, if it is taken or the address is not of this machine."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ValueError(f"--host: {host} is no address ({error.strerror}); give one of this machine.") from error
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"--port: {port} is in use; give another, such as --port {port + 1}.") from error
        if error.errno == errno.EACCES:
            raise ValueError(f"--port: this user may not use {port}; give one above 1023.") from error
        raise ValueError(f"--host: {host} is no address of this machine ({error.strerror}).") from error
    return listening


def serve(args: argparse.Namespace, listening: socket.socket) -> int:
    """Serve on a socket until Ctrl-C. Return the exit code."""
    import uvicorn

    from jaxsr.studio.models import Models
    from jaxsr.studio.security import make_guard
    from jaxsr.studio.server import make_app

    models = Models(args.model, accept_license=args.accept_license)
    say(f"loading {models.default}")
    models.resident(models.check(None))
    guard = make_guard(args.host, args.token, args.allow_host, args.max_megabytes * 10**6)
    parent, most_pixels = Path(tempfile.gettempdir()), args.max_megapixels * 10**6
    app = make_app(guard, models, parent=parent, most_pixels=most_pixels)
    page = address(listening, args.host) + (f"/?token={quote(args.token)}" if args.token else "/")
    say(f"open {page} in a browser; Ctrl-C stops the server")
    if args.open:
        import webbrowser

        webbrowser.open(page)
    settings: dict[str, Any] = {
        "log_level": "warning",
        "log_config": None,  # uvicorn's own would close the handlers of the process that calls this
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 2,
    }
    # A second Ctrl-C cuts the end short, which is no error of the page.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "CancelledError" not in record.getMessage())
    with suppress(KeyboardInterrupt):  # uvicorn has ended in good order, and passes the signal on
        uvicorn.Server(uvicorn.Config(app, **settings)).run(sockets=[listening])
    say("stopped; the temporary files are removed")
    return 0


def address(listening: socket.socket, host: str) -> str:
    """Return the address of the page. A server that listens everywhere is named as this machine sees it."""
    name = LOCAL if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listening.getsockname()[1]}"
