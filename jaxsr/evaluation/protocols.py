"""Protocols: small files with everything except the images that decides a number. Every result carries their hash.

A protocol file is JSON; jaxsr's own files are in `protocols/`. The hash of a result covers the protocol and the pixels
of the scored images. Numbers with equal hashes may share a column.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Num

DEFAULT = "plain"
_WORDS = {"colour": ("rgb", "y"), "grey_luma": ("as-rgb", "full"), "bits": (8, None)}


class ProtocolError(ValueError):
    """A protocol that is unreadable, or images that differ from the ones that it lists."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A protocol: what is compared, and how. Images are always cropped at the bottom and the right to whole LR pixels.

    Attributes:
        name, about: the name of the protocol, and a sentence that describes it.
        scale: HR size divided by LR size.
        colour: what PSNR, SSIM and MS-SSIM compare: the RGB channels, or Y of BT.601 (16..235).
        grey_luma: Y of grey files: `as-rgb` is 16..235 as for other files; `full` is the file's own grey levels, as in
            MATLAB code that converts only colour images.
        round_luma: whether Y is rounded to whole grey levels, as in `rgb2ycbcr` of 8-bit images.
        border: number of pixels that PSNR, SSIM, MS-SSIM and NIQE leave out on each side.
        bits: 8 rounds results and originals to 8 bits before the comparison; None leaves them as they are.
        crop: side, in LR pixels, of the centre crop of each image; None for the whole image.
        patches: the crop is divided into patches x patches images.
        seed: default seed of the samples, and seed of the places that the sliced Wasserstein distance measures.
        dataset: the default data set.
        metrics: names of the metrics that are scored by default.
        variants: settings of metrics, such as {"lpips": {"net": "vgg"}}; other settings keep the metric's default.
        images: SHA-256 of the pixels of every original by its name (see `pixel_hash`); empty if any images are allowed.
        lr_images: the same for the LR images.
    """

    name: str
    about: str
    scale: int = 4
    colour: str = "y"
    grey_luma: str = "as-rgb"
    round_luma: bool = False
    border: int = 4
    bits: int | None = 8
    crop: int | None = None
    patches: int = 1
    seed: int = 0
    dataset: str | None = None
    metrics: tuple[str, ...] = ("psnr", "ssim", "lr_consistency", "swd", "niqe")
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    lr_images: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                self._refuse(f"{name} is {getattr(self, name)!r}; use one of {', '.join(map(json.dumps, words))}.")
        for name, least in {"scale": 1, "border": 0, "patches": 1, "crop": 1, "seed": 0}.items():
            value = getattr(self, name)
            if not (name == "crop" and value is None) and not (isinstance(value, int) and value >= least):
                self._refuse(f"{name} must be a whole number from {least} up, not {value!r}.")
        if (self.crop or 0) % self.patches or (self.patches > 1 and self.crop is None):
            self._refuse(f"{self.patches} patches a side do not divide the crop {self.crop}.")

    def _refuse(self, reason: str) -> None:
        raise ProtocolError(f"protocol {self.name}: {reason}")

    def check_scale(self, model_scale: int) -> None:
        """Raise ValueError, naming --protocol, unless the protocol is for the scale of the model."""
        if self.scale != model_scale:
            raise ValueError(
                f"--protocol: {self.name} is for scale {self.scale}, but the model's scale is {model_scale}; choose a "
                "protocol for the model's scale."
            )

    def variant(self, metric: str) -> dict[str, Any]:
        """Return the settings that the protocol gives one metric."""
        return dict(self.variants.get(metric, {}))

    def check(self, name: str, pixels: Num[np.ndarray, "h w 3"], *, lr: bool = False) -> str:
        """Hash the pixels of an original or an LR image. Raises ProtocolError if the protocol lists other pixels."""
        sha256, listed = pixel_hash(pixels), self.lr_images if lr else self.images
        if listed and listed.get(name) != sha256:
            what, size = f"{'LR image' if lr else 'original'} {name}", f"{pixels.shape[1]}x{pixels.shape[0]}"
            why = "has other pixels than" if name in listed else "is not in the list of"
            raise ProtocolError(f"{what} {why} protocol {self.name} (it has {size} pixels); {self.wanted}.")
        return sha256

    @property
    def wanted(self) -> str:
        """The end of an error: which images the protocol accepts, and what to do without them."""
        return (
            f"this protocol accepts only certain files ({self.about}): docs/evaluation.md says where to get them; for "
            f"other images give --protocol {DEFAULT}, or a protocol made with python -m jaxsr.evaluate pin"
        )

    def hash(self, images: Mapping[str, str]) -> str:
        """Compute the SHA-256 of how the protocol measures and of the scored originals (hashes of pixels by name).

        The hash ignores names, default metrics and lists, because `images` contains what was scored. It also ignores
        the variants of metrics, because each metric of a result states its own.
        """
        settings = {key: value for key, value in asdict(self).items() if key not in NOT_HASHED}
        return hashlib.sha256(json.dumps([settings, dict(images)], sort_keys=True).encode()).hexdigest()


NOT_HASHED = ("name", "about", "dataset", "metrics", "variants", "images", "lr_images")
"""Fields in which two protocols may differ although they measure the same."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest known names: ` (did you mean X?)` for prefix matches or the closest name, ignoring case; else empty."""
    small, names = name.lower(), list(known)
    close = [candidate for candidate in names if small and candidate.startswith(small)]
    close = close or difflib.get_close_matches(small, names, n=1)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def pixel_hash(pixels: Num[np.ndarray, "h w 3"]) -> str:
    """Compute the SHA-256 of an RGB image's size, type and pixels. It is the same for every lossless format."""
    head = f"{pixels.shape} {pixels.dtype}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()
