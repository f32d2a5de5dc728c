"""A study runs instruments on pairs of images. It keeps each image's results on disk, so that a stopped run resumes."""

import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from jaxsr.data.pairs import PairSet
from jaxsr.diffusion import Schedule, thin
from jaxsr.errors import NotFiniteError
from jaxsr.guidance.calibration_file import describe_schedule
from jaxsr.imaging.noise import content_hash, image_key
from jaxsr.models.model import DTYPES, Model, Params
from jaxsr.numerics.instruments import INSTRUMENTS, Results, Setup, UnfitError
from jaxsr.numerics.report import write_report
from jaxsr.numerics.tables import TABLES
from jaxsr.numerics.truncation import rows_of
from jaxsr.numerics.work import instrument_calls
from jaxsr.options import Options, spell_value
from jaxsr.plain_data import parse_json
from jaxsr.runtime.devices import broadcast
from jaxsr.runtime.locks import Turns
from jaxsr.runtime.progress import image_bar
from jaxsr.storage import write_whole
from jaxsr.upscaling.inpainting import check_takes_mask
from jaxsr.upscaling.plan import plan_run, schedule_for
from jaxsr.upscaling.upscaler import Upscaler
from jaxsr.version import __version__

DEFAULT_COUNTS = (1, 2, 4, 15, 60)
_FINITE = ("modular/", "ours/", "rms/", "regress/")


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """A study: the model, the pairs of images, and the settings. `carry_out` runs it.

    Attributes:
        upscaler, name: the model and its name.
        pairs: pairs of images.
        options: steps, sampler, thinning and precision; other options are not used.
        instruments: names of instruments, see `INSTRUMENTS`.
        counts: step counts to compare; None takes those of DEFAULT_COUNTS that the model has. They follow the rule of
            the thinning, or `ends` where the options name rows.
        scales, draws: see `Setup`.
        devices: number of this process's devices, each of which measures a pair at a time.
        seed: seed of the noise. An image's noise also depends on its content, but not on its place in the pairs.
        announce: called before the work, with the calls of the network that are left, the model and the schedule.
    """

    upscaler: Upscaler
    name: str
    pairs: PairSet
    options: Options
    instruments: Sequence[str] = tuple(INSTRUMENTS)
    counts: Sequence[int] | None = None
    scales: Sequence[float] = ()
    draws: int = 4
    seed: int = 0
    devices: int = 1
    announce: Callable[[int, Model, Schedule], None] = lambda calls, model, schedule: None


def make_setup(study: Study) -> Setup:
    """Make the setup of the instruments. Raises ValueError, which names the option, if one does not fit the model."""
    preset, crop = study.upscaler.preset, study.pairs.crop
    check_takes_mask(preset, given=False)
    options = plan_run(preset, (crop, crop), study.options).options
    if crop % preset.align:
        raise ValueError(f"crop: must be a multiple of {preset.align} for this model, got {crop}.")
    if study.draws < 2:
        raise ValueError(f"draws: the dispersion needs at least 2 samples of each image, got {study.draws}.")
    coarse, fine = schedule_for(preset, options), preset.schedule.build()
    counts = [count for count in DEFAULT_COUNTS if count <= fine.steps] if study.counts is None else study.counts
    rule, every = options.thinning if isinstance(options.thinning, str) else "ends", sorted({*counts, coarse.steps})
    return Setup(
        model=Model(preset, DTYPES[options.precision]),
        fine=fine,
        rows=rows_of(fine, coarse),
        sampler=options.sampler or preset.sampler,
        compared=[coarse if count == coarse.steps else thin(fine, count, keep=rule) for count in every],
        scales=tuple(study.scales),
        draws=study.draws,
    )


def carry_out(study: Study, output: Path, *, shard: tuple[int, int] | None = None) -> Path:
    """Measure what `output`/parts does not hold yet, write the report into `output`, and return its page.

    An instrument that does not fit the model is left out; a note in the report says why. Several processes deal out the
    pairs among them, and process 0 writes the report. They must see one folder `output`. With a `shard` (I, N), I from
    1 to N, only one of N parts of the pairs is measured, and no report is written.

    Raises:
        ValueError: if options do not fit the model, or the folder holds a study with other choices.
        NotFiniteError: if a result is not finite.
        OSError: if a file cannot be read or written.
    """
    setup = make_setup(study)
    choices = describe(study, setup)
    check_choices(output / "parts", choices)
    pairs = (study.pairs[i] for i in range(len(study.pairs)))
    contents = {i: content_hash(np.concatenate([image.ravel() for image in pair])) for i, pair in enumerate(pairs)}
    tables, notes, first = {}, [], jax.process_index() == 0
    left = _calls_left(study, setup, [*contents.values()], output / "parts")
    left //= shard[1] if shard else jax.process_count()
    study.announce(left, setup.model, setup.coarse)
    if shard is not None:
        _measure_share(setup, study, contents, output / "parts", (shard[0] - 1, shard[1]))
        return output
    if jax.process_count() > 1:
        _measure_share(setup, study, contents, output / "parts", (jax.process_index(), jax.process_count()))
        broadcast(b"")  # waits until the other processes have measured theirs
    for name in study.instruments if first else ():
        try:
            parts = _measure_all(name, setup, study, contents, output / "parts" / name)
        except UnfitError as error:
            notes.append(f"Left out: {error}")
            print(f"left out: {error}", file=sys.stderr)
        else:
            tables |= TABLES[name](setup, parts)
    shown = {"model": study.name} | choices | study.pairs.describe()
    return write_report(output, tables, shown, notes)[0] if first else output


def _measure_share(
    setup: Setup, study: Study, contents: Mapping[int, str], folder: Path, share: tuple[int, int]
) -> None:
    """Measure one share of the pairs, (i, n) with i from 0 to n - 1."""
    own = {i: contents[i] for i in range(share[0], len(contents), share[1])}
    for name in study.instruments:
        with suppress(UnfitError):  # the process that writes the report says so
            _measure_all(name, setup, study, own, folder / name)


def _calls_left(study: Study, setup: Setup, contents: Sequence[str], folder: Path) -> int:
    """Count the calls of the network for the parts that are not there yet."""
    total = 0
    for name in study.instruments:
        missing = sum(not _part(folder / name, content).exists() for content in contents)
        total += missing * instrument_calls(setup, name)
    return total


def _part(folder: Path, content: str) -> Path:
    return folder / f"{content[:32]}.npz"


def describe(study: Study, setup: Setup) -> dict[str, Any]:
    """Return all choices that decide an image's results, as JSON values. The list of images is not among them."""
    found = {
        "model_sha256": study.upscaler.sha256,
        "schedule": describe_schedule(setup.coarse),
        "steps": len(setup.rows),
        "counts": [schedule.steps for schedule in setup.compared],
        "scales": list(setup.scales),
        "draws": setup.draws,
        "sampler": setup.sampler,
        "thinning": spell_value(study.options.thinning),
        "precision": study.options.precision,
        "seed": study.seed,
        "jaxsr": __version__,
    }
    return json.loads(json.dumps(found))


def check_choices(folder: Path, choices: dict[str, Any]) -> None:
    """Write the choices into a new folder of parts. Raises ValueError if the folder holds parts with other choices."""
    header = folder / "choices.json"
    try:
        stored = parse_json(header.read_bytes())
    except FileNotFoundError:
        write_whole(header, json.dumps(choices, indent=1).encode())
        return
    except ValueError as error:
        raise ValueError(
            f"--output: {header} is damaged ({error}); remove {folder} to measure again, or give another folder."
        ) from error
    if other := [key for key in choices if not isinstance(stored, dict) or stored.get(key) != choices[key]]:
        raise ValueError(
            f"--output: {folder.parent} holds a study with other choices ({', '.join(other)}); give its choices to "
            "resume it, or another folder."
        )


def _measure_all(name: str, setup: Setup, study: Study, contents: Mapping[int, str], folder: Path) -> list[Results]:
    """Return the results of some pairs in their order, given as the number of each pair and its hash.

    The hashes name the files. Another process may measure some of them meanwhile.
    """
    measure, count, numbers = INSTRUMENTS[name](setup), len(contents), list(contents)
    paths = {i: _part(folder, content) for i, content in contents.items()}
    results: dict[int, Results] = {}
    free = list(_weights_on_devices(study))
    with image_bar(count) as report, Turns([*paths.values()]) as turns, ThreadPoolExecutor(len(free)) as pool:
        working: dict[Future[Results], tuple[int, Params]] = {}

        def collect(most: int) -> None:
            """Wait until at most `most` devices work."""
            while len(working) > most:
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    turn, weights = working.pop(future)
                    i = numbers[turn]
                    results[i] = future.result()
                    turns.free(turn)
                    free.append(weights)
                    report(len(results), f"{name}: {study.pairs.name(i)}", 0, 0)

        def measure_one(i: int, weights: Params) -> Results:
            key, (lr, hr) = image_key(study.seed, contents[i], 0), map(_as_batch, study.pairs[i])
            found = measure(weights, lr, hr, key)
            _check_finite(found, study.pairs.name(i))
            save_part(paths[i], found)
            return found

        while turns.wait():
            for turn in turns:
                i = numbers[turn]
                title = f"{name}: {study.pairs.name(i)}"
                report(len(results), title, 0, 0)
                if (found := load_part(paths[i])) is not None:
                    results[i] = found
                    turns.free(turn)
                    continue
                if sys.stderr is not None and not sys.stderr.isatty():  # it is None if the caller has closed it
                    print(f"{title} ({turn + 1} of {count})", file=sys.stderr, flush=True)
                weights = free.pop()
                working[pool.submit(measure_one, i, weights)] = (turn, weights)
                collect(study.devices - 1)
            collect(0)
    return [results[i] for i in numbers]


def _weights_on_devices(study: Study) -> Iterator[Params]:
    """Yield the weights once for each device that works."""
    weights = study.upscaler.weights(study.options.precision)
    for device in jax.local_devices()[: study.devices]:
        yield weights if study.devices == 1 else jax.device_put(weights, device)


def _as_batch(image: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    return image[None].astype(np.float32) / np.float32(255)


def _check_finite(found: Results, name: str) -> None:
    for key, values in found.items():
        if (key.startswith(_FINITE) or key.endswith("/variance")) and not np.isfinite(values).all():
            raise NotFiniteError(
                f"{name}: {key} is not finite; check the image and the checkpoint, or give --precision fp32."
            )


def load_part(path: Path) -> Results | None:
    """Read the results of one image. Returns None if there are none, or if the file is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as stored:  # its `read` compares checksums first
            members = {name.removesuffix(".npy"): io.BytesIO(stored.read(name)) for name in stored.namelist()}
        return {name: np.load(member, allow_pickle=False) for name, member in members.items()}
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error):
        return None  # RuntimeError is zipfile's for a compression that it does not know


def save_part(path: Path, results: Results) -> None:
    """Write the results of one image, completely or not at all. Raises OSError if the file cannot be written."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **results)
    write_whole(path, stream.getvalue())
