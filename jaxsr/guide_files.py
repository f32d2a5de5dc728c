"""What guides the images of one command: the files read once, and what the sidecars tell of them."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from jaxsr.calibrated import calibration_path
from jaxsr.checkpoint import sha256_file
from jaxsr.choices import Objective
from jaxsr.guided import Guide, make_guide
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.pixels import from_float
from jaxsr.options import Options, Run, Scales
from jaxsr.region import FEATHER, Box

_FILES = ("alpha_map", "reference", "reference_mask")


@dataclass(frozen=True, eq=False)
class Recipe:
    """What one command does to every image.

    Attributes:
        options: how to sample.
        strip: alphas of the panels, or none.
        alpha_map, mask: grey in [0, 1]. reference: in its file's depth.
        box, feather, objective: where the reference lies, how it fades in, and how alpha is fitted to it.
        files: (option, file, its sha256) of those that were given.
    """

    options: Options
    strip: tuple[float, ...] = ()
    alpha_map: Float[np.ndarray, "h w"] | None = None
    reference: UInt8[np.ndarray, "H W 3"] | UInt16[np.ndarray, "H W 3"] | None = None
    mask: Float[np.ndarray, "p q"] | None = None
    box: Box | None = None
    feather: int | None = None
    objective: Objective | None = None
    files: tuple[tuple[str, Path, str], ...] = ()

    def guide(self, rgb: Float[np.ndarray, "h w 3"], scale: int) -> Guide:
        """What guides the image `rgb`; ValueError where a file does not fit it."""
        parts = {"alpha_map": self.alpha_map, "reference": self.reference, "mask": self.mask, "box": self.box}
        how = {"feather": self.feather, "objective": self.objective, "strip": self.strip}
        return make_guide(rgb, scale, **parts, **how)

    def chosen(self) -> dict[str, Any]:
        """What decides a result beside its options, for `jobs.requested`: nothing where nothing more was given."""
        numbers = {"strip": self.strip or None, "reference_box": self.box, "feather": self.feather}
        numbers |= {"objective": self.objective}
        hashes = {name: sha256 for name, _, sha256 in self.files}
        return hashes | {name: value for name, value in numbers.items() if value is not None}

    def flags(self) -> dict[str, Any]:
        """The options that ask for the same again, with absolute paths."""
        return self.chosen() | {name: path.resolve() for name, path, _ in self.files}


def read_recipe(args: argparse.Namespace, options: Options) -> Recipe:
    """Read the files that the command names.

    Raises:
        ImageFileError: for one that cannot be read.
    """
    paths = {name: path for name in _FILES if (path := getattr(args, name)) is not None}
    grey = {name: read_photo(path).rgb.mean(-1) for name, path in paths.items() if name != "reference"}
    return Recipe(
        options,
        args.strip or (),
        grey.get("alpha_map"),
        None if args.reference is None else _read_pixels(args.reference),
        grey.get("reference_mask"),
        args.reference_box,
        FEATHER if args.reference and args.feather is None else args.feather,
        args.objective,
        tuple((name, path, sha256_file(path)) for name, path in paths.items()),
    )


def _read_pixels(path: Path) -> UInt8[np.ndarray, "H W 3"] | UInt16[np.ndarray, "H W 3"]:
    """As `read_photo`, in the file's depth: it stays in memory for as long as its image takes."""
    photo = read_photo(path)
    return from_float(photo.rgb, np.uint16 if photo.depth == 16 else np.uint8)


def describe_guidance(args: argparse.Namespace, model_file: Path, recipe: Recipe, done: Run) -> dict[str, Any]:
    """What a sidecar tells of the guidance: the scales of every step, and where they are from; {} without."""
    if done.scales is None:
        return {}
    told: dict[str, Any] = {"order": "t = 1, the last step taken, first"} | _numbers(done.scales)
    if args.preset:
        path = calibration_path(args.calibration, model_file)
        told |= {"preset": args.preset, "calibration": path.name, "calibration_sha256": sha256_file(path)}
    told |= {name: path.name for name, path, _ in recipe.files}
    return {"guidance": told | {f"{name}_sha256": sha256 for name, _, sha256 in recipe.files}}


def _numbers(scales: Scales) -> dict[str, Any]:
    lr: Any = scales.lr[0] if len(scales.lr) == 1 else scales.lr
    hr = {"reference_scale": scales.hr, "reference_offset": scales.offset} if scales.hr else {}
    return {"alpha": lr} | hr
