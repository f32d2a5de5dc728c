"""The metrics by name: which way they count, what they need, how they are computed here, in words that results carry.

A metric of jaxsr is a function of batches of equal size, which runs inside one compiled call; one of another library is
scored by `jaxsr.evaluation.external`. To add one, add a line to `METRICS`. One that cannot be had gives a row that says
so; none takes the place of another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxsr.calibration.scores import MOST_DB
from jaxsr.checkpoint import FILE_NAME, sha256_file
from jaxsr.evaluation.protocols import Protocol
from jaxsr.metrics import niqe_model
from jaxsr.metrics.consistency import lr_consistency
from jaxsr.metrics.dists import dists
from jaxsr.metrics.lpips import lpips
from jaxsr.metrics.niqe import niqe
from jaxsr.metrics.perceptual_files import metrics_dir, perceptual_path
from jaxsr.metrics.psnr import psnr, rgb_to_y
from jaxsr.metrics.ssim import ms_ssim, ssim
from jaxsr.metrics.texture import PATCHES, PROJECTIONS, high_frequency_ratio, texture_distance

Images = Float[Array, "b h w 3"]


class MetricError(ValueError):
    """A metric that is not known, or that the images at hand do not suffice for."""


@dataclass(frozen=True)
class How:
    """How to measure: the protocol, whether the originals' files are grey, what it says of this metric, its network."""

    protocol: Protocol
    grey: bool = False
    variant: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)


Native = Callable[[Images, Any, Any, How], Float[Array, " b"]]
"""(results, originals or None, LR images or None, how) -> one number per image; NHWC float32 in [0, 1]."""


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        title: as tables have it.
        up: more is better; None where neither is.
        describe: what exactly is measured, in words; equal words mean comparable numbers.
        native: its function; None for one of another library.
        weights: name of those of the network that `native` finds in `How.network`, where it needs one.
        external: its name in `jaxsr.evaluation.external`, which scores it from files.
        target, lr: it needs the originals, the LR images.
        digits: after the point, in tables.
        unit: of its numbers.
        missing: why it cannot be had at present, or None.
        keys: of its `variants` in a protocol; None for any.
    """

    title: str
    up: bool | None
    describe: Callable[[How], str]
    native: Native | None = None
    weights: Callable[[How], str | None] = lambda how: None
    external: str = ""
    target: bool = True
    lr: bool = False
    digits: int = 4
    unit: str = ""
    missing: Callable[[How], str | None] = lambda how: None
    keys: tuple[str, ...] | None = ()


def _compared(images: Images, how: How) -> Float[Array, "b h w c"]:
    """What PSNR and SSIM look at: the channels, Y, or the grey levels of a grey file."""
    protocol = how.protocol
    if protocol.colour == "rgb":
        return images
    own = how.grey and protocol.grey_luma == "full"
    y = images.mean(axis=-1, keepdims=True) if own else rgb_to_y(images)
    return jnp.round(255 * y) / 255 if protocol.round_luma else y


def _similar(metric: Callable[..., Array]) -> Native:
    """PSNR or an SSIM of what the protocol compares, without its border."""

    def measure(sr: Images, hr: Images, lr: Any, how: How) -> Float[Array, " b"]:
        return metric(_compared(sr, how), _compared(hr, how), border=how.protocol.border)

    return measure


def _psnr(sr: Images, hr: Images, lr: Any, how: How) -> Float[Array, " b"]:
    return jnp.minimum(_similar(psnr)(sr, hr, lr, how), MOST_DB)


def _lr_consistency(sr: Images, hr: Any, lr: Float[Array, "n p q 3"], how: How) -> Float[Array, " b"]:
    return jnp.minimum(lr_consistency(sr, lr, how.protocol.scale), MOST_DB)


def _swd(sr: Images, hr: Images, lr: Any, how: How) -> Float[Array, " b"]:
    return texture_distance(sr, hr, jax.random.key(how.protocol.seed, impl="threefry2x32"))


def _niqe(sr: Images, hr: Any, lr: Any, how: How) -> Float[Array, " b"]:
    model = niqe_model.load_niqe_model(_niqe_file(how))
    return niqe(sr, model, border=how.protocol.border, luma=how.variant.get("luma", "ycbcr"))


def _niqe_file(how: How) -> Path:
    return Path(how.variant.get("model", niqe_model.BUNDLED))


def _pixels(how: How) -> str:
    """In words: what PSNR and SSIM compare."""
    protocol = how.protocol
    if protocol.colour == "rgb":
        colour = "RGB"
    else:
        rounded = "rounded " if protocol.round_luma else ""
        colour = f"{rounded}Y of BT.601{', grey files at full range' if protocol.grey_luma == 'full' else ''}"
    return f"{colour}, border {protocol.border}, {protocol.bits or 'unrounded'}{' bits' if protocol.bits else ''}"


def _describe_niqe(how: How) -> str:
    sha256, luma = sha256_file(_niqe_file(how))[:12], how.variant.get("luma", "ycbcr")
    return f"NIQE, luma {luma}, border {how.protocol.border}, model {sha256}"


def _net(how: How) -> str:
    return how.variant.get("net", "alex")


def _no_weights(name: str) -> str | None:
    """Why a network cannot be had, which is downloaded where it is not there; or None."""
    try:
        perceptual_path(name)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _weights_id(name: str) -> str:
    path = metrics_dir() / name / FILE_NAME
    return f", weights {sha256_file(path)[:12]}" if path.is_file() else ""


def _external(name: str, title: str, up: bool | None, *, target: bool = True, digits: int = 4) -> Metric:
    """A metric of pyiqa; what exactly it measured is known when it has run."""

    def describe(how: How) -> str:
        return ", ".join([f"{name} of pyiqa", *(f"{key} {value}" for key, value in how.variant.items())])

    return Metric(title, up, describe, external=name, target=target, digits=digits, keys=None)


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", True, lambda how: f"PSNR, {_pixels(how)}", _psnr, digits=2, unit="dB"),
    "ssim": Metric("SSIM", True, lambda how: f"SSIM 11x11 Gaussian, {_pixels(how)}", _similar(ssim)),
    "ms_ssim": Metric("MS-SSIM", True, lambda how: f"MS-SSIM of 5 scales, {_pixels(how)}", _similar(ms_ssim)),
    "lr_consistency": Metric(
        "LR-PSNR",
        True,
        lambda how: f"PSNR of RGB shrunk by MATLAB bicubic x{how.protocol.scale} against the LR image",
        _lr_consistency,
        target=False,
        lr=True,
        digits=2,
        unit="dB",
    ),
    "swd": Metric(
        "SWD",
        False,
        lambda how: (
            f"sliced Wasserstein, finest Laplacian level, {PATCHES} patches, {PROJECTIONS} projections, "
            f"seed {how.protocol.seed}"
        ),
        _swd,
        digits=2,
    ),
    "hf_ratio": Metric(
        "HF",
        None,
        lambda how: "variance of the finest Laplacian level over the original's (1 is right)",
        lambda sr, hr, lr, how: high_frequency_ratio(sr, hr),
        digits=2,
    ),
    "niqe": Metric("NIQE", False, _describe_niqe, _niqe, target=False, digits=2, keys=("luma", "model")),
    "lpips": Metric(
        "LPIPS",
        False,
        lambda how: f"LPIPS 0.1, net {_net(how)}{_weights_id(f'lpips-{_net(how)}')}",
        lambda sr, hr, lr, how: lpips(sr, hr, how.network, net=_net(how)),
        weights=lambda how: f"lpips-{_net(how)}",
        missing=lambda how: _no_weights(f"lpips-{_net(how)}"),
        keys=("net",),
    ),
    "dists": Metric(
        "DISTS",
        False,
        lambda how: f"DISTS{_weights_id('dists')}",
        lambda sr, hr, lr, how: dists(sr, hr, how.network),
        weights=lambda how: "dists",
        missing=lambda how: _no_weights("dists"),
    ),
    "maniqa": _external("maniqa", "MANIQA", True, target=False),
    "clipiqa": _external("clipiqa", "CLIPIQA", True, target=False),
    "fid": _external("fid", "FID", False, digits=1),
    # To check ours against.
    "lpips_pyiqa": _external("lpips", "LPIPS of pyiqa", False),
    "dists_pyiqa": _external("dists", "DISTS of pyiqa", False),
    "psnr_pyiqa": _external("psnr", "PSNR of pyiqa", True, digits=2),
    "ssim_pyiqa": _external("ssim", "SSIM of pyiqa", True),
    "niqe_pyiqa": _external("niqe", "NIQE of pyiqa", False, target=False, digits=2),
}


def check_metrics(names: Sequence[str], protocol: Protocol, *, target: bool, lr: bool) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        MetricError: for an unknown one, one that needs images that are not given, or a variant that it does not have.
    """
    for name in names:
        if name not in METRICS:
            raise MetricError(f"--metrics: no {name!r}; choose among {', '.join(METRICS)}.")
        if METRICS[name].target and not target:
            raise MetricError(f"--metrics: {name} needs the originals; give --target, or leave it out.")
        if METRICS[name].lr and not lr:
            raise MetricError(f"--metrics: {name} needs the LR images; give --lr, or leave it out.")
        keys = METRICS[name].keys
        if keys is not None and (unknown := protocol.variant(name).keys() - set(keys)):
            known = f"it has {', '.join(keys)}" if keys else "it has none of its own"
            raise MetricError(f"protocol {protocol.name}: {name} has no variant {', '.join(sorted(unknown))}; {known}.")
    return tuple(dict.fromkeys(names))


def default_metrics(protocol: Protocol, *, target: bool, lr: bool) -> tuple[str, ...]:
    """Those that the protocol names, less what the images at hand do not suffice for."""
    known = ((name, METRICS[name]) for name in check_metrics(protocol.metrics, protocol, target=True, lr=True))
    return tuple(name for name, one in known if (target or not one.target) and (lr or not one.lr))


def describe(name: str, protocol: Protocol) -> str:
    """What exactly a metric measures under a protocol, in words."""
    return METRICS[name].describe(How(protocol, variant=protocol.variant(name)))
