"""The JSON API and the files of the page. docs/studio.md describes every address."""

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from jaxsr.choices import METADATA, SAMPLERS
from jaxsr.hub.resolve import LicenceError
from jaxsr.options import Options
from jaxsr.plain_data import brief, parse_json
from jaxsr.storage import temporary_folder
from jaxsr.studio.answers import as_file, describe_job, describe_view
from jaxsr.studio.asked import FILE_FORMATS, MOST_SAMPLES, read_asked, read_look
from jaxsr.studio.knob import find_knob
from jaxsr.studio.making import MadePicture, Maker, Order, Pictures
from jaxsr.studio.models import Models, read_card
from jaxsr.studio.security import COOKIE, Application, Guard, TooLargeError, guarded, is_known
from jaxsr.studio.store import MOST_RESULTS, NotFoundError, Shelf, Store, StoredFile, delete, new_id
from jaxsr.studio.views import View, encode_png
from jaxsr.studio.worker import MOST_WAITING, BusyError, JobState, Report, Worker
from jaxsr.version import __version__

_POLL = 0.1  # seconds between looks at a job that a client watches
_BEAT = 15.0  # seconds between signs of life to it
_ERRORS = (ValueError, OSError, ImportError, ArithmeticError, MemoryError, RuntimeError)
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, eq=False)
class Studio:
    """The parts of a running server."""

    guard: Guard
    models: Models
    store: Store
    maker: Maker
    worker: Worker
    jobs: Shelf[JobState]
    most_pixels: int


def make_app(guard: Guard, models: Models, *, parent: Path, most_pixels: int) -> Application:
    """Make the ASGI application.

    Args:
        guard: who may ask for what.
        models: the models.
        parent: folder in which the application makes its temporary folder, and removes it at its end.
        most_pixels: pictures of more pixels are refused before they are decoded.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with temporary_folder(parent) as folder:
            store = Store(folder, most_pixels)
            worker = Worker(partial(sentence, folder=folder))
            jobs: Shelf[JobState] = Shelf("job", MOST_RESULTS, _remove_result, lambda job: not job.over)
            maker = Maker(store, accept_license=models.accept_license)
            app.state.studio = Studio(guard, models, store, maker, worker, jobs, most_pixels)
            worker.start()
            try:
                yield
            finally:
                await run_in_threadpool(worker.stop)
                store.close()

    routes = [
        Route("/", _page, methods=["GET"]),
        Route("/login", _login, methods=["POST"]),
        Route("/api/info", _answered(_info), methods=["GET"]),
        Route("/api/models/{name}/card", _answered(_card), methods=["GET"]),
        Route("/api/knob", _answered(_knob), methods=["GET"]),
        Route("/api/photos", _answered(_add_photo), methods=["POST"]),
        Route("/api/photos/{id}", _answered(_remove_photo), methods=["DELETE"]),
        Route("/api/files", _answered(_add_file), methods=["POST"]),
        Route("/api/looks", _answered(_look), methods=["POST"]),
        Route("/api/jobs", _answered(_add_job), methods=["POST"]),
        Route("/api/jobs/{id}", _answered(_job), methods=["GET"]),
        Route("/api/jobs/{id}", _answered(_cancel), methods=["DELETE"]),
        Route("/api/jobs/{id}/events", _answered(_events), methods=["GET"]),
        Route("/api/jobs/{id}/disagreement", _answered(_spread), methods=["GET"]),
        Route("/api/jobs/{id}/results/{number:int}/{part}", _answered(_result), methods=["GET"]),
        Route("/api/views/{kind}/{id}/{which}/{level:int}/{row:int}/{column:int}", _answered(_tile), methods=["GET"]),
        Mount("/static", StaticFiles(directory=str(static_folder()))),
    ]
    return guarded(Starlette(routes=routes, lifespan=lifespan), guard)


def static_folder() -> Path:
    """Return the folder of the page's files."""
    return Path(str(files("jaxsr"))) / "studio" / "static"


def sentence(error: BaseException, folder: Path) -> str:
    """Return what a client is told of an error: one line, without the paths of our folder."""
    if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
        return "the device has too little memory; choose a smaller tile, or a smaller picture."
    if isinstance(error, OSError) and error.strerror:
        return f"the server could not read or write a file ({error.strerror})."
    text = str(error) or type(error).__name__
    for part in (f"{folder}/", str(folder)):
        text = text.replace(part, "")
    return brief(text)


def _answered(handler: Handler) -> Handler:
    """Turn the errors of a handler into answers with one sentence."""

    async def answered(request: Request) -> Response:
        studio: Studio = request.app.state.studio
        try:
            return await handler(request)
        except NotFoundError as error:
            return _error(404, error)
        except TooLargeError as error:
            return JSONResponse({"error": str(error)}, 413, {"connection": "close"})
        except BusyError as error:
            return JSONResponse({"error": str(error)}, 429, {"retry-after": "2"})
        except LicenceError as error:
            return _error(403, error)
        except ClientDisconnect:
            return Response(status_code=400)
        except _ERRORS as error:
            if not isinstance(error, ValueError | MemoryError):
                traceback.print_exc()
            return JSONResponse({"error": sentence(error, studio.store.folder)}, 422)

    return answered


def _error(status: int, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status)


def _studio(request: Request) -> Studio:
    return request.app.state.studio


async def _page(request: Request) -> Response:
    """Send the page; to a client that has not shown the secret yet, the entrance."""
    guard = _studio(request).guard
    if guard.secret is not None and guard.knows(request.query_params.get("token", "")):
        return _let_in(guard)
    if not is_known(request.headers.get("cookie", ""), guard):
        return HTMLResponse((static_folder() / "login.html").read_text(encoding="utf-8"), 401)
    return HTMLResponse((static_folder() / "index.html").read_text(encoding="utf-8"))


async def _login(request: Request) -> Response:
    """Take the secret from the form of the entrance."""
    guard = _studio(request).guard
    try:
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
    except TooLargeError as error:
        return _error(413, error)
    if guard.knows(form.get("token", [""])[0]):
        return _let_in(guard)
    await asyncio.sleep(0.5)  # guessing shall take its time
    return HTMLResponse((static_folder() / "login.html").read_text(encoding="utf-8"), 401)


def _let_in(guard: Guard) -> Response:
    answer = RedirectResponse("/", 303)
    answer.set_cookie(COOKIE, guard.session, httponly=True, samesite="strict")
    return answer


async def _info(request: Request) -> Response:
    studio = _studio(request)
    limits = {"bytes": studio.guard.most_bytes, "pixels": studio.most_pixels, "waiting": MOST_WAITING}
    return JSONResponse(
        {
            "version": __version__,
            "token": studio.guard.csrf,
            "models": studio.models.describe(),
            "default_model": studio.models.default,
            "samplers": SAMPLERS,
            "formats": FILE_FORMATS,
            "metadata": METADATA,
            "limits": limits | {"samples": MOST_SAMPLES},
        }
    )


async def _card(request: Request) -> Response:
    studio, name = _studio(request), _studio(request).models.check(request.path_params["name"])
    card = await _asked(studio, name, lambda: read_card(studio.models.resident(name)))
    return Response(card, media_type="text/markdown; charset=utf-8")


async def _knob(request: Request) -> Response:
    """Describe the knob of a model for some steps and a sampler, and the model itself. This loads the model."""
    studio, asked = _studio(request), request.query_params
    name, steps = studio.models.check(asked.get("model")), asked.get("steps")
    if steps is not None and not steps.isdecimal():
        raise ValueError(f"steps: must be a whole number, not {steps[:20]!r}.")
    options = Options(steps=None if steps is None else int(steps), sampler=asked.get("sampler"))

    def describe() -> dict[str, Any]:
        resident = studio.models.resident(name)
        preset = resident.upscaler.preset
        facts = {"model": name, "scale": preset.scale, "mask": preset.network.cond_mask, "sampler": preset.sampler}
        facts |= {"most_steps": preset.schedule.steps, "window": resident.preview.side, "unit": resident.preview.unit}
        return facts | find_knob(resident.upscaler, options).describe()

    return JSONResponse(await _asked(studio, name, describe))


async def _add_photo(request: Request) -> Response:
    studio = _studio(request)
    data = await request.body()
    photo = await run_in_threadpool(studio.store.add_photo, request.query_params.get("name", ""), data)
    facts = {name: getattr(photo, name) for name in ("id", "name", "depth", "grey", "transparent")}
    notes = [f"The photo {text}." for text in photo.lost]
    return JSONResponse(facts | {"notes": notes, "view": describe_view(photo.view, "photos", photo.id, "0")}, 201)


async def _remove_photo(request: Request) -> Response:
    _studio(request).store.photos.take(request.path_params["id"])
    return Response(status_code=204)


async def _add_file(request: Request) -> Response:
    studio = _studio(request)
    data = await request.body()
    found = await run_in_threadpool(studio.store.add_file, request.query_params.get("name", ""), data)
    return JSONResponse({"id": found.id, "name": found.name, "width": found.size[0], "height": found.size[1]}, 201)


async def _look(request: Request) -> Response:
    """Enlarge one window. The picture has one window for each setting, one below the other."""
    studio = _studio(request)
    look = read_look(await _json(request))
    name, photo = studio.models.check(look.model), studio.store.photos.find(look.photo)
    guides = _guide_files(studio, {"alpha_map": look.alpha_map, "mask": look.mask})
    seen = await _asked(studio, name, lambda: studio.maker.look(studio.models.resident(name), look, photo, guides))
    facts = {"window": seen.window, "settings": seen.settings, "notes": seen.notes}
    return Response(seen.png, media_type="image/png", headers={"x-jaxsr-look": json.dumps(facts)})


async def _add_job(request: Request) -> Response:
    studio = _studio(request)
    asked = read_asked(await _json(request))
    name, photo = studio.models.check(asked.model), studio.store.photos.find(asked.photo)
    names = ("alpha_map", "mask", "reference")
    order = Order(asked, photo, _guide_files(studio, {name: getattr(asked, name) for name in names}))

    def run(state: JobState, report: Report) -> Pictures:
        folder = studio.store.new_folder()
        try:
            return studio.maker.make(studio.models.resident(name), order, folder, state, report)
        except BaseException:
            delete(folder)
            raise

    job = JobState(new_id(), name, run)
    studio.worker.submit(job)
    studio.jobs.add(job.id, job)
    return JSONResponse(describe_job(studio.worker, job), 202)


async def _job(request: Request) -> Response:
    studio = _studio(request)
    return JSONResponse(describe_job(studio.worker, studio.jobs.find(request.path_params["id"])))


async def _cancel(request: Request) -> Response:
    studio = _studio(request)
    job = studio.jobs.find(request.path_params["id"])
    studio.worker.cancel(job)
    return JSONResponse(describe_job(studio.worker, job), 202)


async def _events(request: Request) -> Response:
    """Send the state of a job as server-sent events, until it is over."""
    studio = _studio(request)
    job = studio.jobs.find(request.path_params["id"])

    async def events() -> AsyncIterator[str]:
        sent, beat = None, 0.0
        while True:
            over = job.over
            now = (job.version, studio.worker.place(job))
            if now != sent:
                sent, beat = now, 0.0
                yield f"data: {json.dumps(describe_job(studio.worker, job))}\n\n"
            elif beat >= _BEAT:
                beat = 0.0
                yield ": still here\n\n"
            if over:
                return
            await asyncio.sleep(_POLL)
            beat += _POLL

    return StreamingResponse(events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _result(request: Request) -> Response:
    picture, part = _find_picture(request), request.path_params["part"]
    if part == "command":
        return Response(picture.command, media_type="text/plain; charset=utf-8")
    if part not in ("picture", "sidecar"):
        raise NotFoundError(f"there is no {part[:40]!r} of a result; ask for picture, sidecar or command.")
    own = Path(picture.name)
    name = f"{own.stem}-large{own.suffix}"  # a saved file shall not take the place of the photograph
    path, name = (picture.path, name) if part == "picture" else (picture.sidecar, f"{name}.json")
    return FileResponse(path, headers=as_file(name))


async def _spread(request: Request) -> Response:
    """Send the whole map of the disagreement as a grey PNG."""
    spread = _find_pictures(request).spread
    if spread is None:
        raise NotFoundError("there is no map of the disagreement of a single sample; ask for several samples.")
    data = await run_in_threadpool(lambda: encode_png(spread[0].pixels()))
    return Response(data, media_type="image/png", headers=as_file("disagreement.png"))


async def _tile(request: Request) -> Response:
    """Send a tile of a photograph, of a result or of a map."""
    studio, asked = _studio(request), request.path_params
    view: View | None = None
    if asked["kind"] == "photos":
        view = studio.store.photos.find(asked["id"]).view
    elif asked["which"] == "disagreement":
        found = _find_pictures(request).spread
        view = None if found is None else found[0]
    else:
        view = _find_picture(request, asked["which"]).view
    place = (asked["level"], asked["row"], asked["column"])
    data = None if view is None else await run_in_threadpool(view.tile, *place)
    if data is None:
        raise NotFoundError("there is no such tile.")
    return Response(data, media_type="image/png", headers=_FOREVER)


async def _json(request: Request) -> Any:
    try:
        return parse_json(await request.body())
    except TooLargeError:
        raise
    except ValueError as error:
        raise ValueError(f"the body of the request is not JSON: {error}.") from error


async def _asked(studio: Studio, model: str, answer: Callable[[], Any]) -> Any:
    return await asyncio.wrap_future(studio.worker.ask(answer, model))


def _guide_files(studio: Studio, ids: dict[str, str | None]) -> dict[str, StoredFile]:
    return {name: studio.store.files.find(found) for name, found in ids.items() if found is not None}


def _find_pictures(request: Request) -> Pictures:
    job = _studio(request).jobs.find(request.path_params["id"])
    if job.state != "done":
        raise NotFoundError(f"the job is {job.state}; there is no result.")
    return job.result


def _find_picture(request: Request, number: int | str | None = None) -> MadePicture:
    pictures, found = _find_pictures(request).pictures, request.path_params["number"] if number is None else number
    if not str(found).isdecimal() or int(found) >= len(pictures):
        raise NotFoundError(f"there is no result {str(found)[:20]}; there are {len(pictures)}, from 0 on.")
    return pictures[int(found)]


def _remove_result(job: JobState) -> None:
    if isinstance(job.result, Pictures):
        delete(job.result.folder)
