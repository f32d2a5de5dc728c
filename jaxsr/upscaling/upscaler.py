"""The upscaler enlarges an image of any size.

It cuts the image into tiles. One jitted call encodes, samples and decodes the tiles of a batch. The results are blended
in bands of rows. The size of the tile bounds the memory of the network in every stage.

The noise at a pixel depends only on the seed, the content of the image and the position of the pixel. The batch size
and the order of files or tiles therefore do not change the noise, and change the result by rounding at most.
"""

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float, Key, Num

from jaxsr.choices import Batch, Objective, Precision, Reference, Thinning
from jaxsr.errors import NotFiniteError
from jaxsr.guidance.calibration_file import Calibration, CalibrationError
from jaxsr.guidance.fits import fit_lr_scale, fit_quality, fit_reference
from jaxsr.guidance.guide import (
    Guide,
    Scales,
    check_guide,
    given_reference,
    is_fitted,
    is_guided,
    lr_scales,
    make_guide,
)
from jaxsr.guidance.moments import Moments
from jaxsr.guidance.option_conflicts import Given, find_conflict, refuse
from jaxsr.guidance.region import Box
from jaxsr.imaging import noise, tiling
from jaxsr.imaging.pixels import as_array, from_float, to_float_rgb
from jaxsr.models.model import DTYPES, Model, Params
from jaxsr.models.presets import ModelPreset
from jaxsr.models.problem import Problem
from jaxsr.options import Options
from jaxsr.runtime.device_memory import fitting, program_bytes
from jaxsr.upscaling.image_problem import pose_images
from jaxsr.upscaling.inpainting import check_mask, check_takes_mask, keep_known, with_mask
from jaxsr.upscaling.knob_presets import FoundCalibration, Setting, apply_knob_preset, beyond_range, find_calibration
from jaxsr.upscaling.plan import ImageRun, plan_run, schedule_for, with_less_memory
from jaxsr.upscaling.programs import compile_program, cost, program_key, tile_mesh
from jaxsr.upscaling.tile_calls import Progress, black_tiles, enlarge_tiles, guides_of, measure_tiles

T = TypeVar("T")
_NO_GUIDE = Guide()
CALL_PIXELS = 2**20
"""Most pixels of the input per call and device for the batch `auto`. More make no device faster."""
__all__ = ["Progress", "Upscaler"]


@dataclass(frozen=True, eq=False)
class Upscaler:
    """A model with its weights, ready to enlarge images. `jaxsr.load` makes it.

    Attributes:
        preset: everything that defines the model except its weights.
        params: its weights, float32.
        source: the checkpoint file.
        sha256: SHA-256 of that file.
    """

    preset: ModelPreset
    params: Params
    source: Path
    sha256: str

    def upscale(
        self,
        image: Any,
        *,
        seed: int = 0,
        sample: int = 0,
        batch: Batch = 1,
        progress: Progress | None = None,
        alpha_map: Any = None,
        reference: Any = None,
        reference_box: Box | None = None,
        reference_mask: Any = None,
        feather: int | None = None,
        objective: Objective | None = None,
        calibration: str | Path | Calibration | None = None,
        preset: str | None = None,
        mask: Any = None,
        **options: Any,
    ) -> Num[np.ndarray, "H W *c"]:
        """Enlarge an image to exactly `preset.scale` times its size. The result is one random sample.

        Args:
            image: array (h, w, 3) or grey (h, w), or an object that NumPy converts to one, such as a Pillow image
                (RGB, L, I;16); uint8, uint16, or float in [0, 1].
            seed: source of all randomness, together with the image's content and `sample`; 0 <= seed < 2**32.
            sample: number of the sample; other numbers give other samples of one image.
            batch: most tiles per call of the network, or `auto`, as many as the memory holds. It does not change the
                noise, and the result only by rounding.
            progress: called with (tiles done, tiles in all).
            alpha_map: (h, w); multiplies alpha pixel by pixel.
            reference: an image of higher resolution (HR), of the same types, that shows a part of the image.
            reference_box: the part that the reference shows: (x, y, width, height) in pixels of the input. The
                reference has `scale` times this size.
            reference_mask: in place of `reference_box`, (h, w) in [0, 1]: the weight of the reference at every pixel.
                The reference has `scale` times the size of the image, or of the smallest box around the mask.
            feather: pixels of the input over which the reference fades in from its border; None is 8.
            objective: how alpha is fitted to the reference if alpha is not given: `lstsq` (also for None), `norm` or
                `step-norm`.
            calibration: a calibration or its file; None is the one beside the model's file.
            preset: name of a preset in the calibration, which gives alpha.
            mask: for an inpainting model, and only for one, (h, w): 1 (white) where the content is to be filled in, 0
                where the result keeps the image's pixels, bit for bit. Numbers between mix the two.
            **options: fields of `Options`.
        Returns:
            the enlarged image, in the type of the input. A grey image stays grey.
        Raises:
            TypeError: for an unknown option.
            ValueError: for an image of another shape or type, or options that do not fit the model.
            MemoryError: if the device's memory is too small for the tile (with tile `auto`, for the smallest tile).
            NotFiniteError: if the network returns pixels that are not numbers.
        """
        chosen = self.choose("upscale", options, preset, calibration, reference=reference is not None)
        image = as_array(image)
        rgb, grey = to_float_rgb(image)
        region = {"reference": reference, "box": reference_box, "mask": reference_mask, "feather": feather}
        guide = make_guide(rgb, self.preset.scale, alpha_map=alpha_map, objective=objective, **region)
        height, width = (self.preset.scale * n for n in rgb.shape[:2])
        out = np.empty((height, width) if grey else (height, width, 3), image.dtype)
        known = check_mask(self.preset, mask, rgb.shape[:2])
        choices = {"guide": guide, "seed": seed, "sample": sample, "batch": batch, "mask": known}
        run = self.enlarge(rgb, out, chosen, **choices, progress=progress)
        for note in self.fit_notes(run, guide):
            warnings.warn(f"the image {note}", stacklevel=2)
        if known is not None:
            keep_known(out, image, known)
        return out

    def problem(
        self,
        lr: Any,
        *,
        steps: int | None = None,
        seed: int = 0,
        sample: int = 0,
        thinning: Thinning = "ends",
        precision: Precision = "fp32",
        mask: Any = None,
    ) -> Problem:
        """Pose an image, or a batch of images of one size, as a problem for a sampler of your own.

        `diffusion.sample(p.denoise, p.schedule, p.z_lr, p.noise)` and then `p.decode` give the result of `upscale` with
        `tile="off"`, up to rounding; with a mask, they lack the known pixels. Latents are (b, hz, wz, z), float32.
        `p.denoise(x_t, step)` takes a row of `p.schedule`, which runs from T - 1, the noisiest, down to 0. It clips to
        [-1, 1] only where latents are pixels; `p.decode` clips to [0, 1]. `Problem` documents every part.

        Its functions may be called inside `jax.jit`, `jax.grad` and `jax.vmap`, except for `encode` and `decode`, which
        take and return NumPy arrays.

        Args:
            lr: (h, w, 3), or (b, h, w, 3); uint8, uint16, or float in [0, 1].
            steps: sampling steps; None is the model's own number, or that of the rows in `thinning`.
            seed: the noise depends on the seed, on each image's content and on `sample`.
            sample: number of the sample.
            thinning, precision: fields of `Options`.
            mask: for an inpainting model, (h, w), one for all images, see `upscale`.
        Returns:
            the problem. `p.decode(latent)` returns (H, W, 3), or (b, H, W, 3) for a batch, `preset.scale` times the
            size of `lr`. `p.encode` takes images of that size.
        Raises:
            ValueError: for images of another shape or type, or options that do not fit the model.
        """
        options = Options(steps=steps, tile="off", thinning=thinning, precision=precision)
        return pose_images(self.preset, self.weights(precision), lr, options, seed=seed, sample=sample, mask=mask)

    def find_calibration(
        self, options: Options, calibration: str | Path | Calibration | None = None, preset: str | None = None
    ) -> FoundCalibration:
        """Find the calibration for these options, see `jaxsr.upscaling.knob_presets.find_calibration`."""
        return find_calibration(calibration, self.source, Setting(self.preset, self.sha256, options), preset)

    def with_preset(
        self,
        options: Options,
        preset: str,
        calibration: str | Path | Calibration | None = None,
        *,
        reference: bool = False,
    ) -> Options:
        """Set alpha and the form of its gradient from a preset of a calibration, see `jaxsr.upscaling.knob_presets`."""
        found = self.find_calibration(options, calibration, preset)
        return apply_knob_preset(options, preset, found.calibration, reference=reference)

    def choose(
        self,
        function: str,
        given: Mapping[str, Any],
        preset: str | None,
        calibration: str | Path | Calibration | None,
        *,
        reference: bool = False,
    ) -> Options:
        """Make the options from the keywords of `function`, with the preset's, and warn of what `knob_notes` knows.

        Raises TypeError for a keyword that is no option, and ValueError for options that do not fit.
        """
        known = [field.name for field in fields(Options)]
        if unknown := given.keys() - set(known):
            raise TypeError(f"{function} has no option {', '.join(sorted(unknown))}; it has {', '.join(known)}.")
        refuse(find_conflict(Given(preset=preset is not None, calibration=calibration is not None)))
        chosen = Options(**given)
        if preset is not None:
            chosen = self.with_preset(chosen, preset, calibration, reference=reference)
        for note in self.knob_notes(chosen, [chosen.alphas], preset, calibration):
            warnings.warn(note, stacklevel=3)
        return chosen

    def knob_notes(
        self,
        options: Options,
        alphas: Sequence[Sequence[float]],
        preset: str | None = None,
        calibration: str | Path | Calibration | None = None,
    ) -> list[str]:
        """List what a calibration knows against the choice of a preset, or of these alphas without a preset.

        It warns of a preset that lost much on its pairs, and of an alpha outside of the calibrated range. A model
        without a fitting calibration has no notes.
        """
        if preset is None and not any(map(any, alphas)):
            return []
        try:
            found = self.find_calibration(options, calibration, preset).calibration
        except (CalibrationError, OSError):
            return []
        warning = found.presets[preset]["warning"] if preset else beyond_range(options, alphas, found)
        return [f"preset {preset} {warning}" if preset else warning] if warning else []

    def fit_notes(self, run: ImageRun, guide: Guide) -> list[str]:
        """List what the model's own calibration knows against the alpha that a run fitted to its reference.

        Each text completes a sentence that begins with "the image". There is none where the reference covers the whole
        image, because the alpha is then used nowhere.
        """
        if run.scales is None or not run.scales.quality or guide.region is None:
            return []
        if guide.region.box[2:] == (run.plan.width, run.plan.height) and guide.region.weight.min() == 1:
            return []
        notes = self.knob_notes(run.options, run.scales.lr)
        return [f"was enlarged by a fit whose {note}; give alpha to choose another" for note in notes]

    def enlarge(
        self,
        rgb: Float[np.ndarray, "h w 3"],
        out: Num[np.ndarray, "H W *c"],
        options: Options,
        *,
        guide: Guide = _NO_GUIDE,
        seed: int,
        sample: int = 0,
        batch: Batch = 1,
        mask: Float[np.ndarray, "h w"] | None = None,
        progress: Progress | None = None,
    ) -> ImageRun:
        """Enlarge float32 pixels in [0, 1] into `out`, in the type of `out`, as `upscale` does.

        Returns the run that was made, which may differ from `options` where memory was short or bf16 overflowed. With
        a strip in `guide`, `out` has the shape (H, W, panels, 3). The known pixels of a `mask` (from `check_mask`) are
        not put back: see `jaxsr.upscaling.inpainting.keep_known`.
        """
        check_takes_mask(self.preset, given=mask is not None)
        check_guide(guide, options, rgb.shape[:2])
        first = self.plan(rgb.shape[:2], options, batch, guide)
        key, pixels = noise.image_key(seed, noise.content_hash(rgb), sample), with_mask(rgb, mask)

        def attempt(run: ImageRun) -> Scales | None:
            scales = self._scales(pixels, key, run, guide)
            run = replace(run, scales=scales)
            function = partial(self.compiled(run.options, run.remat), self.weights(run.options.precision))
            tiles = enlarge_tiles(function, key, pixels, run, guides_of(run, guide, self.preset.scale), progress)
            for y0, rows in tiling.blend_tiles(run.plan, self.preset.scale, tiles):
                band = out[y0 : y0 + len(rows)]
                band[:] = from_float(rows.mean(-1) if out.ndim == 2 else rows, out.dtype).reshape(band.shape)
            return scales

        scales, run = self._retry(attempt, first, options)
        return replace(run, scales=scales)

    def _scales(self, pixels: np.ndarray, key: Key[Array, ""], run: ImageRun, guide: Guide) -> Scales | None:
        """Return the numbers of the guidance, fitted if there is a reference; None if nothing guides."""
        if not is_guided(guide, run.options):
            return None
        lr, region = lr_scales(guide, run.options), guide.region
        if region is None:
            return Scales(lr)

        def moments(against: Reference) -> list[Moments]:
            function = partial(self.compiled(run.options, run.remat, against), self.weights(run.options.precision))
            return measure_tiles(function, key, pixels, run, region, self.preset.scale)

        given, fitted = given_reference(run.options), is_fitted(guide, run.options)
        against_lr = moments("lr") if fitted else []
        if fitted:
            variance = schedule_for(self.preset, run.options).variance_clipped
            lr = (fit_lr_scale(against_lr, guide.objective or "lstsq", variance),)
        if given is not None:
            return Scales(lr, *given)
        against_hr = moments("hr")
        quality = fit_quality(against_lr, against_hr) if fitted else {}
        return Scales(lr, *fit_reference(against_hr), quality)

    def _retry(self, attempt: Callable[[ImageRun], T], run: ImageRun, asked: Options) -> tuple[T, ImageRun]:
        """Return `attempt(run)` and its run.

        Where memory is short, it tries again with a run that needs less. Where bf16 gives pixels that are not numbers,
        it tries again in fp32.
        """
        while True:
            try:
                return attempt(run), run
            except NotFiniteError:
                if run.options.precision == "fp32":
                    raise
                run = replace(run, options=replace(run.options, precision="fp32"))
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                run = with_less_memory(run, self.preset, asked)

    def compiled(
        self, options: Options, remat: bool = False, against: Reference | None = None, devices: int = 1
    ) -> jax.stages.Wrapped:
        """Return the jitted function (params, keys, tiles, origins, guides=None) -> enlarged tiles.

        With `against` it is the function that measures a reference, see `jaxsr.upscaling.programs`. Several devices
        share the tiles of a call. The function is kept for the next image.
        """
        cache_key = (program_key(self.preset, options, remat, against), devices)
        if cache_key not in self._compiled:
            self._compiled[cache_key] = compile_program(self.preset, options, remat, against, devices)
        return self._compiled[cache_key]

    def weights(self, precision: Precision, devices: int = 1) -> Params:
        """Round `params` for a compute precision, see `Model.rounded`. The result is kept for the next image."""
        key = (precision, devices)
        if key not in self._weights:
            rounded = Model(self.preset, DTYPES[precision]).rounded(self.params)
            everywhere = jax.NamedSharding(tile_mesh(devices), jax.P()) if devices > 1 else None
            self._weights[key] = rounded if everywhere is None else jax.device_put(rounded, everywhere)
        return self._weights[key]

    @cached_property
    def _weights(self) -> dict[tuple[Precision, int], Params]:
        return {}

    @cached_property
    def _compiled(self) -> dict[Hashable, jax.stages.Wrapped]:
        return {}

    def plan(self, size: tuple[int, int], options: Options, batch: Batch = 1, guide: Guide = _NO_GUIDE) -> ImageRun:
        """Plan the run for an image of `size` (height, width), see `plan_run`, with a number for the batch `auto`."""
        if batch == "auto":
            batch = self.auto_batch(plan_run(self.preset, size, options), guide)
        return plan_run(self.preset, size, options, batch)

    def measure(
        self, size: tuple[int, int], options: Options, batch: Batch = 1, guide: Guide = _NO_GUIDE
    ) -> tuple[ImageRun, float, float]:
        """Plan and time an image of `size`: returns the run, seconds per call, and the program's memory in bytes."""
        check_guide(guide, options, size)
        first = self.plan(size, options, batch, guide)
        (seconds, memory), run = self._retry(lambda run: cost(*self._call(run, guide)), first, options)
        return run, seconds, memory

    def auto_batch(self, run: ImageRun, guide: Guide = _NO_GUIDE, devices: int = 1) -> int:
        """Return the tiles per call that the memory of each of some devices holds, up to CALL_PIXELS.

        The compiler says what one tile needs. The weights are in the memory already.
        """
        run = replace(run, batch=1)
        key = self.compiled(run.options, run.remat), run.plan.tile, guide.alpha_map is None, guide.region is None
        if key not in self._tile_bytes:
            program, arguments = self._call(run, guide)
            weights = sum(value.nbytes for value in arguments[0].values())
            self._tile_bytes[key] = program_bytes(program.lower(*arguments).compile()) - weights
        return fitting(CALL_PIXELS // math.prod(run.plan.tile), self._tile_bytes[key], devices)

    @cached_property
    def _tile_bytes(self) -> dict[Hashable, float]:
        return {}

    def _call(self, run: ImageRun, guide: Guide) -> tuple[Any, tuple]:
        """Return the program of a run, and the arguments of one of its calls."""
        params = self.weights(run.options.precision)
        return self.compiled(run.options, run.remat), (params, *black_tiles(run, self.preset, guide))
