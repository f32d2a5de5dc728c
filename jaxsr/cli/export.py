"""Write a model as a program that runs without jaxsr: jaxsr export -n photo-x4 -o photo-x4.stablehlo"""

import argparse
from pathlib import Path

from jaxsr.choices import PLATFORMS
from jaxsr.cli.exits import exit_code, say
from jaxsr.cli.parser import Parser, program, some_of
from jaxsr.cli.shared_options import (
    add_gradient,
    add_model,
    add_precision,
    add_sampler,
    add_scale,
    add_steps,
    add_thinning,
    chosen_options,
    sides,
)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    parser = Parser(prog=program("export"), description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add_model(parser)
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write, such as model.stablehlo")
    text = "side of the images in pixels, or WIDTHxHEIGHT (default: 128)"
    add("--tile", type=sides, default=(128, 128), metavar="N", help=text)
    text = "where it runs (default: cpu,cuda,tpu)"
    add("--platforms", type=some_of(PLATFORMS), default=PLATFORMS, metavar="LIST", help=text)
    add_steps(parser)
    add_sampler(parser)
    add_thinning(parser)
    add_precision(parser)
    add("--overwrite", action="store_true", help="replace the file if it exists")
    group = parser.add_argument_group("the knob")
    add_scale(group)
    add_gradient(group)
    parser.set_defaults(like=None)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = make_parser().parse_args(argv)
    return exit_code(lambda: _export(args))


def _export(args: argparse.Namespace) -> int:
    from jaxsr.batch.jobs import check_new_file
    from jaxsr.hub.cards import check_can_run
    from jaxsr.storage import write_whole
    from jaxsr.upscaling.exporting import export
    from jaxsr.upscaling.knob_presets import apply_knob_preset
    from jaxsr.upscaling.loading import load

    check_new_file("--output", args.output, overwrite=args.overwrite)
    options = chosen_options(args)
    check_can_run(args.model, mask=False)
    upscaler = load(args.model, accept_license=args.accept_license)
    if args.preset:
        found = upscaler.find_calibration(options, args.calibration, args.preset)
        options = apply_knob_preset(options, args.preset, found.calibration)
    data = bytes(export(upscaler, options, args.tile, args.platforms).serialize())
    write_whole(args.output, data)
    height, width = args.tile
    scale = upscaler.preset.scale
    say(f"written: {args.output}, {len(data) / 1e6:.1f} MB, for {', '.join(args.platforms)}")
    say(f'program = jax.export.deserialize(bytearray(open("{args.output}", "rb").read()))')
    say(f"program.call(lr, numpy.uint32(seed)): (b, {height}, {width}, 3) -> (b, {scale * height}, {scale * width}, 3)")
    return 0
