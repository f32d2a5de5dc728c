"""A server of the studio in a thread of this process, and a client that speaks plain HTTP to it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvicorn
from PIL import Image

from jaxsr.cli.studio import listen
from jaxsr.studio.models import Models
from jaxsr.studio.security import make_guard
from jaxsr.studio.server import make_app

SECRET = "a secret of some length"


class Answer(NamedTuple):
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def pixels(self) -> np.ndarray:
        with Image.open(BytesIO(self.body)) as image:
            return np.asarray(image)


class Client:
    """Sends requests as a page does: with the token of the process in a header, unless `headers` say otherwise."""

    def __init__(self, port: int, folder: Path, models: Models) -> None:
        self.port, self.folder, self.models = port, folder, models
        self.token = ""

    @contextmanager
    def open(self, method: str, path: str, body: Any = None, **headers: str) -> Iterator[HTTPResponse]:
        """Send a request, and yield the answer before its body is read."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, content, {"x-jaxsr-token": self.token} | named)
            with connection.getresponse() as answer:
                yield answer

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        with self.open(method, path, body, **headers) as answer:
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, **headers)

    def photo(self, name: str = "photo.png", data: bytes | None = None, size: tuple[int, int] = (20, 16)) -> dict:
        answer = self.send("POST", f"/api/photos?name={name}", data or png(size))
        assert answer.status == 201, answer.body
        return answer.json

    def file(self, data: bytes, name: str = "map.png") -> str:
        answer = self.send("POST", f"/api/files?name={name}", data)
        assert answer.status == 201, answer.body
        return answer.json["id"]

    def job(self, **asked: Any) -> dict:
        answer = self.send("POST", "/api/jobs", asked)
        assert answer.status == 202, answer.body
        return answer.json

    def wait(self, key: str, *states: str) -> dict:
        """Wait until a job is in one of these states; without any, until it is over."""
        for _ in range(1200):
            found = self.get(f"/api/jobs/{key}").json
            if found["state"] in (states or ("done", "failed", "cancelled")):
                return found
            time.sleep(0.05)
        raise AssertionError(f"still {found}")

    def make(self, **asked: Any) -> dict:
        """Make a picture, and return the finished job."""
        found = self.wait(self.job(**asked)["id"])
        assert found["state"] == "done", found["error"]
        return found


def png(size: tuple[int, int] = (20, 16), seed: int = 0, **settings: Any) -> bytes:
    """Return a smooth picture of (width, height) as PNG."""
    y, x = np.mgrid[: size[1], : size[0]]
    waves = [np.sin(x / (2 + k) + seed) + np.cos(y / (3 + k)) for k in range(3)]
    stream = BytesIO()
    Image.fromarray(np.uint8(127 + 60 * np.stack(waves, -1))).save(stream, "PNG", **settings)
    return stream.getvalue()


def grey_png(values: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(np.uint8(values)).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def serving(
    models: Models,
    folder: Path,
    *,
    secret: str | None = None,
    allowed: tuple[str, ...] = (),
    most_bytes: int = 10**6,
    most_pixels: int = 10**5,
) -> Iterator[Client]:
    """Serve in a thread, with a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    app = make_app(make_guard("127.0.0.1", secret, allowed, most_bytes), models, parent=folder, most_pixels=most_pixels)
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    client = Client(listening.getsockname()[1], folder, models)
    try:
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        client.token = client.get("/api/info", **headers).json["token"]
        yield client
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
    assert not thread.is_alive()
