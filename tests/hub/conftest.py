"""Start the local site that downloads come from."""

import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest

from tests.hub.site import Site, handler_of


@pytest.fixture
def start_site(monkeypatch) -> Iterator[Callable[..., Site]]:
    from jaxsr.hub import download

    monkeypatch.setattr(download, "_BACKOFF", 0.01)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("JAXSR_OFFLINE", raising=False)
    servers = []

    def start(**behaviour) -> Site:
        site = Site(**behaviour)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site))
        site.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return site

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
