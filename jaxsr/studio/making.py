"""The pictures of a job, made with `jaxsr.batch` as the sample command makes them, and the looks through the loupe."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxsr.batch.enlarge import Begun, begin, make_many
from jaxsr.batch.jobs import Job, plan_jobs
from jaxsr.batch.recipe import Recipe, read_recipe
from jaxsr.batch.request import Request, hash_source, request_for
from jaxsr.imaging import noise
from jaxsr.imaging.files import Photo
from jaxsr.imaging.pixels import from_float
from jaxsr.runtime.devices import count_devices
from jaxsr.studio.asked import Asked, Look
from jaxsr.studio.models import Resident
from jaxsr.studio.record import Names, name_in_sidecar
from jaxsr.studio.store import Store, StoredFile, StoredPhoto
from jaxsr.studio.views import View, colour_drift, disagreement, encode_png, make_view
from jaxsr.studio.worker import JobState, Report
from jaxsr.upscaling.inpainting import check_mask, with_mask
from jaxsr.upscaling.plan import plan_run

_KEPT = 2  # decoded photographs


@dataclass(frozen=True, eq=False)
class MadePicture:
    """One result of a job.

    Attributes:
        name: its file's name, as the sample command gives it.
        path, sidecar: our files.
        command: the command line that makes the same bytes from the client's own files.
        view: the result as a browser shows it.
        facts: LR-consistency, drift of the mean colour, notes, seconds, and alpha of every step.
    """

    name: str
    path: Path
    sidecar: Path
    command: str
    view: View
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The results of a job: one for each sample, and with several samples their disagreement.

    Attributes:
        folder: holds all files of the job.
        warnings: what a calibration knows against the setting of the knob.
        spread: the map of the disagreement, or None; and its mean in grey levels.
    """

    folder: Path
    pictures: tuple[MadePicture, ...]
    warnings: tuple[str, ...]
    spread: tuple[View, float] | None


@dataclass(frozen=True, eq=False)
class Order:
    """A job with the photograph and the files that it names."""

    asked: Asked
    photo: StoredPhoto
    files: dict[str, StoredFile]


class Maker:
    """Makes pictures and looks for clients. Only the thread of the worker calls it.

    Args:
        store: where the photographs and files are.
        accept_license: whether the command lines shall accept a licence.
    """

    def __init__(self, store: Store, *, accept_license: bool = False) -> None:
        self._store, self._accept_license = store, accept_license
        self._decoded: OrderedDict[str, tuple[Float[np.ndarray, "h w 3"], str]] = OrderedDict()
        self._paces: dict[Any, float] = {}

    def make(self, resident: Resident, order: Order, folder: Path, state: JobState, report: Report) -> Pictures:
        """Make the pictures of a job in the new folder `folder`.

        Raises:
            ImageFileError, ValueError, OSError, MemoryError, NotFiniteError, RuntimeError: each with one sentence.
            CancelledJob: if the job has been cancelled.
        """
        upscaler, asked, photo = resident.upscaler, order.asked, order.photo
        options = asked.knob.apply(upscaler, asked.options, reference=asked.reference is not None)
        warnings = upscaler.knob_notes(options, [options.alphas], asked.knob.preset)
        resolved = plan_run(upscaler.preset, (photo.view.height, photo.view.width), options)
        fixed = replace(options, steps=resolved.options.steps, sampler=resolved.options.sampler)
        state.pace = self._paces.get(self._kind(resident, fixed, resolved.plan.tile))
        ext = asked.format or ("png" if asked.mask else None)
        jobs = plan_jobs([(photo.path, Path(photo.path.name))], folder, suffix="", ext=ext, n_samples=asked.samples)
        tiles, done = asked.samples * len(resolved.plan), dict.fromkeys(jobs, 0)
        report(0, tiles)

        def count(job: Job, tiles_of_job: int, _: int) -> None:
            done[job] = tiles_of_job
            report(sum(done.values()), tiles)

        names = Names.of(photo.name, {name: file.name for name, file in order.files.items()})
        recipe, requests = self._recipe(order), [self._request(resident, order, fixed, job) for job in jobs]

        def begun() -> Any:
            for job, request in zip(jobs, requests, strict=True):
                one = begin(upscaler, job, request, recipe, read=self._store.read, progress=partial(count, job))
                one.request = names.renamed(request)  # what is recorded from now on has the client's names
                yield one

        by_sample: dict[int, MadePicture] = {}
        sharing = {"devices": count_devices("all"), "accept_license": self._accept_license}
        for one, made in make_many(upscaler, begun(), batch=1, **sharing):
            if isinstance(made, BaseException):
                raise made
            number = one.job.sample
            by_sample[number] = self._picture(order, one, names, folder / f"view{number}")
        if state.done > 1:
            pace = (state.latest - state.first) / (state.done - 1)
            self._paces[self._kind(resident, fixed, resolved.plan.tile)] = pace
        pictures = tuple(by_sample[number] for number in sorted(by_sample))
        views = [picture.view for picture in pictures]
        spread = disagreement(folder / "spread", views) if len(views) > 1 else None
        return Pictures(folder, pictures, tuple(warnings), spread)

    def look(self, resident: Resident, look: Look, photo: StoredPhoto, files: dict[str, StoredFile]) -> "Seen":
        """Enlarge one window with some settings of the knob. Raises the errors of `make` besides CancelledJob."""
        upscaler, preview = resident.upscaler, resident.preview
        chosen, (rgb, content) = look.chosen(upscaler), self._pixels(photo)
        top, left, height, width = preview.place((int(look.at[1]), int(look.at[0])), rgb.shape[:2])
        maps = {name: self._grey(files[name]) if name in files else None for name in ("alpha_map", "mask")}
        mask = check_mask(upscaler.preset, maps["mask"], rgb.shape[:2])
        if maps["alpha_map"] is not None and maps["alpha_map"].shape != rgb.shape[:2]:
            raise ValueError(f"alpha_map: must be {rgb.shape[1]}x{rgb.shape[0]} pixels, as the photo is.")
        key = noise.image_key(look.seed, content, look.sample)
        windows = preview.window(with_mask(rgb, mask), key, (top, left), chosen, maps["alpha_map"])
        if mask is not None:
            place = slice(top, top + height), slice(left, left + width)
            known = mask[place][..., None]
            windows = windows * known + rgb[place] * (1 - known)
        png = encode_png(from_float(np.concatenate(list(windows)), np.uint8), photo.view.profile())
        notes, settings = list[tuple[str, ...]](), list[dict[str, Any]]()
        for one, knob in zip(chosen, look.knobs, strict=True):
            notes.append(tuple(upscaler.knob_notes(one, [one.alphas], knob.preset)))
            turned = {"alpha": one.alphas, "temperature": one.numbers("temperature"), "projection": one.projection}
            settings.append(turned)
        return Seen(png, (left, top, width, height), tuple(settings), tuple(notes))

    def _picture(self, order: Order, one: Begun, names: Names, folder: Path) -> MadePicture:
        """Describe a finished result, and make its view."""
        view = make_view(folder, one.pixels, order.photo.view.profile())
        record = name_in_sidecar(one.job.sidecar, names)
        consistency = record["lr_consistency_db"]
        facts = {
            "lr_consistency_db": consistency,
            "colour_drift": round(colour_drift(view, order.photo.view), 2),
            "notes": record["notes"],
            "seconds": record["seconds"],
            "size": record["size"],
            "bytes": one.job.target.stat().st_size,
            "sha256": record["output_sha256"],
            "guidance": record.get("guidance"),
            "options": record["options"],
        }
        shown = names.of_result(one.job, order.asked.samples)
        return MadePicture(shown, one.job.target, one.job.sidecar, record["command"], view, facts)

    def _request(self, resident: Resident, order: Order, options: Any, job: Job) -> Request:
        asked, upscaler = order.asked, resident.upscaler
        calibration = None
        if asked.knob.preset is not None:
            path = upscaler.find_calibration(asked.options, None, asked.knob.preset).path
            calibration = None if path is None else hash_source(path)
        names = ("seed", "metadata", "reference_box", "feather", "objective")
        more: dict[str, Any] = {name: getattr(asked, name) for name in names}
        more |= {name: hash_source(file.path) for name, file in order.files.items()}
        more |= {"model": resident.source, "model_sha256": upscaler.sha256, "options": options}
        return request_for(job, quality=asked.quality, preset=asked.knob.preset, calibration=calibration, **more)

    def _recipe(self, order: Order) -> Recipe:
        return read_recipe(**{name: file.path for name, file in order.files.items() if name != "mask"})

    def _kind(self, resident: Resident, options: Any, tile: tuple[int, int]) -> Any:
        return resident.name, options.steps, options.sampler, options.precision, tile

    def _pixels(self, photo: StoredPhoto) -> tuple[Float[np.ndarray, "h w 3"], str]:
        """Return the pixels that the network gets, as `jaxsr.batch.enlarge.begin` makes them, and their hash."""
        if photo.id not in self._decoded:
            found = self._store.read(photo.path)
            rgb = found.rgb if found.alpha is None else _bled(found)
            self._decoded[photo.id] = rgb, noise.content_hash(rgb)
            while len(self._decoded) > _KEPT:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(photo.id)
        return self._decoded[photo.id]

    def _grey(self, file: StoredFile) -> Float[np.ndarray, "h w"]:
        found = read_recipe(alpha_map=file.path).alpha_map
        assert found is not None
        return found


@dataclass(frozen=True, eq=False)
class Seen:
    """What a look shows.

    Attributes:
        png: the enlarged windows, one below the other.
        window: (x, y, width, height) of the window in pixels of the photograph.
        settings: alpha, temperature and projection of each window.
        notes: what a calibration knows against each setting.
    """

    png: bytes
    window: tuple[int, int, int, int]
    settings: tuple[dict[str, Any], ...]
    notes: tuple[tuple[str, ...], ...]


def _bled(photo: Photo) -> Float[np.ndarray, "h w 3"]:
    from jaxsr.imaging.transparency import bleed  # scipy.ndimage, for transparent photographs only

    assert photo.alpha is not None
    return bleed(photo.rgb, photo.alpha)
