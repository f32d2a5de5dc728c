"""The options of the sample command, their accepted values, and their contradictions. This module imports no JAX."""

import argparse
from dataclasses import replace
from pathlib import Path

from jaxsr.choices import COLOUR_FIXES, METADATA, MOST_SCALE, OBJECTIVES, REFERENCE_MEANS, GradientForm
from jaxsr.cli.parser import NUMBER, ListOf, Parser, numbers, numbers_or_names, program
from jaxsr.cli.shared_options import (
    add_batch,
    add_devices,
    add_gradient,
    add_hosts,
    add_model,
    add_precision,
    add_sampler,
    add_scale,
    add_seed,
    add_shard,
    add_steps,
    add_thinning,
    add_tiles,
    find_hosts_conflict,
    find_like_conflict,
    one_or_several,
    spell,
    whole,
)
from jaxsr.guidance.option_conflicts import Given
from jaxsr.guidance.option_conflicts import find_conflict as find_guidance_conflict
from jaxsr.version import __version__

_GIVEN = (
    "preset",
    "strip",
    "calibration",
    "alpha_map",
    "reference",
    "reference_box",
    "reference_mask",
    "feather",
    "objective",
    "reference_slope",
)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options."""
    parser = Parser(
        prog=program("sample"),
        description="Enlarge photographs: jaxsr sample photo.jpg -o out.png",
        epilog="exit code: 0 all done, 1 error, 2 wrong usage, 3 some images failed (they are listed at the end)",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("paths", type=Path, nargs="*", metavar="PATH", help="images, or folders of images")
    text = "the same; both may be given"
    add("-i", "--input", type=Path, nargs="+", action="extend", default=[], metavar="PATH", help=text)
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("out"),
        metavar="DIR",
        help="folder for the results, or for one image the file to write (default: out)",
    )
    add_model(parser)
    add("--list-models", action="store_true", help="list the known models with their licences, and stop")
    add_steps(parser)
    add_sampler(parser)
    add_thinning(parser, None)
    add_seed(parser)
    add("--n-samples", type=whole(1), default=1, metavar="N", help="different results per image (default: 1)")
    add_tiles(parser)
    add_batch(parser, "most tiles per call and device; the noise is the same, results are equal up to rounding", 1)
    add_devices(parser)
    add_shard(parser, "make one of N equal parts of the images")
    add_hosts(parser)
    add_precision(parser)
    add(
        "--mask",
        type=Path,
        metavar="PATH",
        help="for inpainting models: an image, white where to fill in, or a folder of images with the inputs' names",
    )
    add("-r", "--recursive", action="store_true", help="search folders below too; the results mirror the tree")
    add("--suffix", default="", help="text to add to the name of each result")
    add("-f", "--ext", choices=("png", "jpg", "webp", "tif"), help="format of the results (default: as the input)")
    add(
        "--quality",
        type=whole(1, 100),
        default=95,
        metavar="Q",
        help="quality of JPEG and WebP, 1 to 100 (default: 95)",
    )
    add(
        "--metadata",
        choices=METADATA,
        default="keep",
        help="metadata of the results; minimal: author, copyright, dates, resolution; strip: none (default: keep)",
    )
    _add_size(parser)
    add("--overwrite", action="store_true", help="make results again that exist already")
    add("--dry-run", action="store_true", help="show tiles, memory and time, and write nothing")
    add("--version", action="version", version=f"jaxsr {__version__}")
    _add_guidance(parser)
    return parser


def _add_size(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is enlarged, to which size, and of the colours, as a group of the help."""
    add = parser.add_argument_group("size and colours").add_argument
    text = "size of the results, 1 to 8 times the input's: the network enlarges by its own scale, then Lanczos resizes"
    add("-s", "--scale", type=_scale, metavar="S", help=f"{text} (default: the network's)")
    add("--width", type=whole(1), metavar="N", help="width of the results in pixels, in place of --scale")
    add("--height", type=whole(1), metavar="N", help="height of the results in pixels, likewise; one side is enough")
    add("--crop", type=box(), metavar="X,Y,W,H", help="enlarge only this part of the input, in its pixels")
    text = "correct the colours; wavelet: low frequencies of the input; adain: its mean and deviation of each channel"
    add("--colour-fix", "--color-fix", choices=COLOUR_FIXES, default="none", help=f"{text} (default: none)")


def _add_guidance(parser: argparse.ArgumentParser) -> None:
    """Add the options that guide the sampler, as a group of the help."""
    group = parser.add_argument_group("the knob")
    add = group.add_argument
    add_scale(group)
    add(
        "--alpha-map",
        type=Path,
        metavar="IMAGE",
        help="image of the input's size that multiplies alpha: white 1, black 0",
    )
    text = "make one labelled image of the results with these alphas, presets, or `plain`, such as plain,vivid,0.3"
    add("--strip", type=numbers_or_names(), metavar="LIST", help=text)
    add("--reference", type=Path, metavar="IMAGE", help="image of a part of the input at the result's resolution")
    add("--reference-box", type=box(), metavar="X,Y,W,H", help="place of the reference, in input pixels")
    add("--reference-mask", type=Path, metavar="IMAGE", help="or image of the input's size, white where to use it")
    add("--feather", type=whole(0), metavar="N", help="input pixels over which the reference fades in (default: 8)")
    add("--objective", choices=OBJECTIVES, help="rule that fits alpha to the reference (default: lstsq)")
    text = "of Eq. 10 for the reference, one number or one per step (default: fitted)"
    add("--reference-slope", type=numbers(one_or_several), metavar="A", help=f"A {text}; -1 moves onto the reference")
    add("--reference-offset", type=numbers(one_or_several), metavar="B", help=f"B {text}")
    add(
        "--save-calibration",
        type=Path,
        metavar="JSON",
        help="write what was fitted to the reference to this file, as the preset `fitted` for other images",
    )
    add_gradient(group)
    add(
        "--reference-mean",
        choices=REFERENCE_MEANS,
        default="clean",
        help="mean of the reference; clean: its latent; shifted: the mean of the forward process",
    )


def find_conflict(args: argparse.Namespace) -> str | None:
    """Find the first contradiction between the options, and return it as one sentence; None without one."""
    if conflict := find_hosts_conflict(args) or find_like_conflict(args) or _find_size_conflict(args):
        return conflict
    named = any(isinstance(panel, str) for panel in args.strip or ())
    given = Given(
        alpha=args.alpha if isinstance(args.alpha, tuple | None) else (args.alpha,),
        form=GradientForm(args.through, args.reference_mean, args.reference_variance),
        **{name: getattr(args, name) is not None for name in _GIVEN},
    )
    if named:
        given = replace(given, calibration=False)  # the panels say which of its presets
    if args.reference_offset is not None and args.reference_slope is None:
        return "argument --reference-offset: belongs to --reference-slope; give that too."
    conflict = find_guidance_conflict(given, spell)
    if args.save_calibration and (args.n_samples > 1 or args.dry_run):
        other = "--dry-run" if args.dry_run else "--n-samples"
        return f"argument --save-calibration: keeps the fit of one result; leave {other} out."
    if args.save_calibration and not (args.reference and not given.sources and args.reference_slope is None):
        return (
            "argument --save-calibration: keeps what is fitted to a reference; give --reference, and leave --alpha, "
            "--preset, --strip and --reference-slope out."
        )
    return f"argument {spell(conflict[0])}: {conflict[1]}" if conflict else None


def _find_size_conflict(args: argparse.Namespace) -> str | None:
    """Find a contradiction between the options of size and colours and others; None without one."""
    if args.scale is not None and (args.width or args.height):
        return f"argument --{'width' if args.width else 'height'}: --scale gives the size; leave one of the two out."
    if args.mask:
        given = {"--scale": args.scale, "--width": args.width, "--height": args.height, "--crop": args.crop}
        given["--colour-fix"] = args.colour_fix != "none"
        if changing := next((name for name, value in given.items() if value), None):
            return f"argument {changing}: would change the pixels that --mask keeps; leave one of the two out."
    if args.crop and args.reference:
        return "argument --crop: a reference is placed in the whole input; crop the input first, or leave one out."
    return None


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= MOST_SCALE:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST_SCALE:g}, not {text!r}")
    return value


def box() -> ListOf[int]:
    """Make the type of a rectangle in pixels of the input: (x, y, width, height)."""
    return ListOf(whole(0), looks=NUMBER, count=4, what="X,Y,WIDTH,HEIGHT")
