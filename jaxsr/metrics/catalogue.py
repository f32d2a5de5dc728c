"""The catalogue of metrics: each name with its function, its better direction, its unit and its description.

This table is the only definition of a metric. Evaluation, calibration and tables read it. To add a metric, add an entry
to `METRICS`, here or in your own program. A metric whose weights or library are missing gives a reason instead of a
number. No metric ever replaces another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsr.metrics import niqe_model
from jaxsr.metrics.consistency import colour_drift, lr_consistency
from jaxsr.metrics.dists import dists, dists_features, dists_of
from jaxsr.metrics.lpips import lpips
from jaxsr.metrics.niqe import niqe
from jaxsr.metrics.perceptual_files import perceptual_path, present_path
from jaxsr.metrics.psnr import psnr, rgb_to_y
from jaxsr.metrics.ssim import ms_ssim, ssim
from jaxsr.metrics.texture import PATCHES, PROJECTIONS, flat_grain, high_frequency_ratio, texture_distance
from jaxsr.storage import sha256_file

Images = Float[Array, "b h w 3"]
MAX_DB = 100.0
"""The upper limit of PSNR, in dB. Equal images get it in place of infinity, so that a mean exists."""


@dataclass(frozen=True)
class Conditions:
    """The conditions under which a metric is measured.

    Attributes:
        scale: HR size divided by LR size.
        border: number of pixels that PSNR, SSIM, MS-SSIM and NIQE leave out on each side.
        colour: what PSNR and the SSIMs compare: `rgb`, or `y`, the luma of BT.601 (16..235).
        round_luma: whether Y is rounded to whole grey levels.
        grey_luma: Y of grey files: `as-rgb` computes it as for other files; `full` uses the file's own grey levels.
        grey: whether the originals are grey files.
        bits: 8 if the images were rounded to 8 bits, None if they were not. Only descriptions use it.
        seed: seed for the patches and projections of the sliced Wasserstein distance.
        settings: settings of this metric, such as {"net": "vgg"}.
        network: parameters of the network that the metric needs.
    """

    scale: int = 4
    border: int = 4
    colour: str = "y"
    round_luma: bool = False
    grey_luma: str = "as-rgb"
    grey: bool = False
    bits: int | None = None
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)


Measure = Callable[[Images, Any, Any, Conditions], Float[Array, " b"]]
"""The function of a metric: (results, originals or None, LR images or None, conditions) -> one number per image.

Images are NHWC, float32 in [0, 1].
"""


@dataclass(frozen=True)
class Metric:
    """A metric: its function, what it needs, and how tables show it.

    Attributes:
        title: name in tables.
        more_is_better: whether a larger number is better; None if neither direction is better.
        describe: describes in words exactly what is measured. Equal words mean comparable numbers.
        measure: the function, traceable by JAX; None if another library computes the metric.
        kind: `fidelity` or `perception`, for the rules of a calibration; None for neither.
        unit: unit of the numbers, or None.
        digits: number of digits after the decimal point in tables.
        needs_target, needs_lr: whether the metric needs the originals, and whether it needs the LR images.
        weights: returns the name of the weights that `measure` expects in `Conditions.network`; None without a network.
        missing: returns the reason why the metric is unavailable on this machine, or None.
        settings: names of the settings that the metric accepts; None if another library decides.
        external: name of the metric in `jaxsr.evaluation.external`, if another library computes it from files.
        features, compare: `measure` in two parts, if the first takes long and depends on the originals alone: their
            features, and the comparison of results with them. None for other metrics.
    """

    title: str
    more_is_better: bool | None
    describe: Callable[[Conditions], str]
    measure: Measure | None = None
    kind: Literal["fidelity", "perception"] | None = None
    unit: str | None = None
    digits: int = 4
    needs_target: bool = True
    needs_lr: bool = False
    weights: Callable[[Conditions], str | None] = lambda conditions: None
    missing: Callable[[Conditions], str | None] = lambda conditions: None
    settings: tuple[str, ...] | None = ()
    external: str = ""
    features: Callable[[Images, Conditions], Any] | None = None
    compare: Callable[[Images, Any, Conditions], Float[Array, " b"]] | None = None


def _compared(images: Images, c: Conditions) -> Float[Array, "b h w c"]:
    """Select the values that PSNR and SSIM compare: the channels, Y, or the grey levels of a grey file."""
    if c.colour == "rgb":
        return images
    own_levels = c.grey and c.grey_luma == "full"
    y = images.mean(axis=-1, keepdims=True) if own_levels else rgb_to_y(images)
    return jnp.round(255 * y) / 255 if c.round_luma else y


def _similarity(metric: Callable[..., Array]) -> Measure:
    """Make a measure from PSNR or an SSIM: it compares the selected values without the border."""

    def measure(sr: Images, hr: Images, lr: Any, c: Conditions) -> Float[Array, " b"]:
        return metric(_compared(sr, c), _compared(hr, c), border=c.border)

    return measure


def _ssim(sr: Images, hr: Images, lr: Any, c: Conditions) -> Float[Array, " b"]:
    metric = partial(ssim, clip_contrast=c.settings.get("contrast") == "clipped")
    return _similarity(metric)(sr, hr, lr, _ssim_conditions(c))


def _ssim_conditions(c: Conditions) -> Conditions:
    """Return the conditions of SSIM, which may round Y where the protocol does not."""
    return replace(c, round_luma=c.round_luma or c.settings.get("luma") == "rounded")


def _describe_ssim(c: Conditions) -> str:
    clipped = ", negative contrast as 0" if c.settings.get("contrast") == "clipped" else ""
    return f"SSIM 11x11 Gaussian, {_describe_pixels(_ssim_conditions(c))}{clipped}"


def _psnr(sr: Images, hr: Images, lr: Any, c: Conditions) -> Float[Array, " b"]:
    return jnp.minimum(_similarity(psnr)(sr, hr, lr, c), MAX_DB)


def _lr_consistency(sr: Images, hr: Any, lr: Float[Array, "n p q 3"], c: Conditions) -> Float[Array, " b"]:
    return jnp.minimum(lr_consistency(sr, lr, c.scale), MAX_DB)


def _swd(sr: Images, hr: Images, lr: Any, c: Conditions) -> Float[Array, " b"]:
    return texture_distance(sr, hr, jax.random.key(c.seed, impl="threefry2x32"))


def _niqe(sr: Images, hr: Any, lr: Any, c: Conditions) -> Float[Array, " b"]:
    model = niqe_model.load_niqe_model(_niqe_file(c))
    return niqe(sr, model, border=c.border, luma=c.settings.get("luma", "ycbcr"))


def _niqe_file(c: Conditions) -> Path:
    return Path(c.settings.get("model", niqe_model.BUNDLED))


def _describe_niqe(c: Conditions) -> str:
    sha256, luma = sha256_file(_niqe_file(c))[:12], c.settings.get("luma", "ycbcr")
    return f"NIQE, luma {luma}, border {c.border}, model {sha256}"


def _describe_pixels(c: Conditions) -> str:
    """Describe in words what PSNR and SSIM compare."""
    if c.colour == "rgb":
        colour = "RGB"
    else:
        rounded = "rounded " if c.round_luma else ""
        colour = f"{rounded}Y of BT.601{', grey files at full range' if c.grey_luma == 'full' else ''}"
    return f"{colour}, border {c.border}, {c.bits or 'unrounded'}{' bits' if c.bits else ''}"


def _net(c: Conditions) -> str:
    return c.settings.get("net", "alex")


def _no_weights(name: str) -> str | None:
    """Return the reason why a network's weights are neither on this machine nor downloadable, or None."""
    try:
        perceptual_path(name)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _describe_weights(name: str) -> str:
    path = present_path(name)
    return f", weights {sha256_file(path)[:12]}" if path else ""


def external_metric(
    name: str, title: str, more_is_better: bool | None, *, needs_target: bool = True, digits: int = 4
) -> Metric:
    """Make a metric that pyiqa computes. Its exact description is known only after it has run."""

    def describe(c: Conditions) -> str:
        return ", ".join([f"{name} of pyiqa", *(f"{key} {value}" for key, value in c.settings.items())])

    return Metric(
        title, more_is_better, describe, external=name, needs_target=needs_target, digits=digits, settings=None
    )


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", True, lambda c: f"PSNR, {_describe_pixels(c)}", _psnr, kind="fidelity", unit="dB", digits=2),
    "ssim": Metric("SSIM", True, _describe_ssim, _ssim, kind="fidelity", settings=("luma", "contrast")),
    "ms_ssim": Metric(
        "MS-SSIM", True, lambda c: f"MS-SSIM of 5 scales, {_describe_pixels(c)}", _similarity(ms_ssim), kind="fidelity"
    ),
    "lr_consistency": Metric(
        "LR-PSNR",
        True,
        lambda c: f"PSNR of RGB shrunk by MATLAB bicubic x{c.scale} against the LR image",
        _lr_consistency,
        kind="fidelity",
        unit="dB",
        digits=2,
        needs_target=False,
        needs_lr=True,
    ),
    "swd": Metric(
        "SWD",
        False,
        lambda c: (
            f"sliced Wasserstein, finest Laplacian level, {PATCHES} patches, {PROJECTIONS} projections, seed {c.seed}"
        ),
        _swd,
        kind="perception",
        digits=2,
    ),
    "hf_ratio": Metric(
        "HF",
        None,
        lambda c: "variance of the finest Laplacian level over the original's (1 is right)",
        lambda sr, hr, lr, c: high_frequency_ratio(sr, hr),
        digits=2,
    ),
    "flat_grain": Metric(
        "flat",
        None,
        lambda c: "deviation of the finest Laplacian level in the original's flattest tenth, minus the original's",
        lambda sr, hr, lr, c: flat_grain(sr, hr),
        digits=2,
    ),
    "colour_drift": Metric(
        "drift",
        False,
        lambda c: "largest difference of a channel's mean from the LR image's, in grey levels",
        lambda sr, hr, lr, c: colour_drift(sr, lr),
        digits=2,
        needs_target=False,
        needs_lr=True,
    ),
    "niqe": Metric(
        "NIQE",
        False,
        _describe_niqe,
        _niqe,
        kind="perception",
        digits=2,
        needs_target=False,
        settings=("luma", "model"),
    ),
    "lpips": Metric(
        "LPIPS",
        False,
        lambda c: f"LPIPS 0.1, net {_net(c)}{_describe_weights(f'lpips-{_net(c)}')}",
        lambda sr, hr, lr, c: lpips(sr, hr, c.network, net=_net(c)),
        kind="perception",
        weights=lambda c: f"lpips-{_net(c)}",
        missing=lambda c: _no_weights(f"lpips-{_net(c)}"),
        settings=("net",),
    ),
    "dists": Metric(
        "DISTS",
        False,
        lambda c: f"DISTS{_describe_weights('dists')}",
        lambda sr, hr, lr, c: dists(sr, hr, c.network),
        features=lambda images, c: dists_features(images, c.network),
        compare=lambda sr, found, c: dists_of(dists_features(sr, c.network), found, c.network),
        kind="perception",
        weights=lambda c: "dists",
        missing=lambda c: _no_weights("dists"),
    ),
    "maniqa": external_metric("maniqa", "MANIQA", True, needs_target=False),
    "clipiqa": external_metric("clipiqa", "CLIPIQA", True, needs_target=False),
    "fid": external_metric("fid", "FID", False, digits=1),
    # pyiqa's versions of our own metrics, as a check of ours.
    "lpips_pyiqa": external_metric("lpips", "LPIPS of pyiqa", False),
    "dists_pyiqa": external_metric("dists", "DISTS of pyiqa", False),
    "psnr_pyiqa": external_metric("psnr", "PSNR of pyiqa", True, digits=2),
    "ssim_pyiqa": external_metric("ssim", "SSIM of pyiqa", True),
    "niqe_pyiqa": external_metric("niqe", "NIQE of pyiqa", False, needs_target=False, digits=2),
}
