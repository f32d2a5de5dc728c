"""Calibrate guidance on pairs of images: jaxsr calibrate --pairs HR_DIR -o calib.json"""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsr.choices import (
    FORWARD_ODES,
    OBJECTIVES,
    GradientForm,
)
from jaxsr.cli.exits import exit_code, say_left_out
from jaxsr.cli.foresight import announcer, say_costs
from jaxsr.cli.parser import Parser, program, words
from jaxsr.cli.shared_options import (
    add_crop,
    add_gradient,
    add_hosts,
    add_limit,
    add_model,
    add_pairs,
    add_precision,
    add_sampler,
    add_seed,
    add_steps,
    add_thinning,
    check_json_output,
    find_hosts_conflict,
    join_hosts,
    leave_hosts,
    whole,
)

if TYPE_CHECKING:
    from jaxsr.calibration.plan import Choices
    from jaxsr.guidance.calibration_file import Calibration


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    parser = Parser(prog=program("calibrate"), description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add_model(parser)
    add_pairs(parser)
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="file to write; a stopped run resumes")
    add("--overwrite", action="store_true", help="replace a calibration, or a stopped run with other choices")
    add_steps(parser)
    add_sampler(parser)
    add_thinning(parser)
    add_precision(parser)
    add_seed(parser)
    loop = parser.add_argument_group("open loop (Algorithm 1)")
    loop.add_argument(
        "--multiples",
        type=words(),
        default="0:2:81",
        metavar="GRID",
        help="scales to try, for norm in units of Sigma_t: start:stop:count, or 0.1,0.2,... (default: %(default)s)",
    )
    loop.add_argument(
        "--objective",
        choices=OBJECTIVES,
        default="norm",
        help="norm: Algorithm 1 as the paper prints it; step-norm: with Sigma inside of its norm; lstsq: least squares",
    )
    loop.add_argument(
        "--forward-ode", choices=FORWARD_ODES, default="diffusion", help="reference path from the HR image"
    )
    add_gradient(loop)
    loop = parser.add_argument_group("closed loop (full sampling of every candidate)")
    add = loop.add_argument
    add(
        "--closed-loop",
        type=words(),
        metavar="METRICS",
        help="a metric of fidelity (psnr, ssim, ms_ssim, lr_consistency) and one of perception (swd, niqe, lpips, "
        "dists), such as psnr,swd; further metrics are measured too",
    )
    add(
        "--candidates",
        type=words(),
        default="-0.1,-0.05,0.05,0.1,0.15,0.2,0.3,0.4",
        metavar="GRID",
        help="scales to try: start:stop:count, or 0.1,0.2,... (default: %(default)s)",
    )
    add(
        "--profile",
        type=words(),
        metavar="NAMES",
        help="shapes of the scale over the steps: some of constant, last, each, open-loop (default: constant)",
    )
    add(
        "--search",
        type=whole(1),
        metavar="ROUNDS",
        help="then search on from the presets, one scale per step, in rounds of one batch (default: no search)",
    )
    add(
        "--temperatures",
        type=words(),
        metavar="GRID",
        help="temperatures of the noise of all steps to try: start:stop:count, or 0.9,1.1 (default: 1 alone)",
    )
    add(
        "--projections",
        type=words(),
        default="0",
        metavar="GRID",
        help="strengths, 0 to 1, of the projection onto the input to try every candidate with: start:stop:count, or "
        "0.5,1 (default: %(default)s)",
    )
    add(
        "--losses",
        type=words(),
        metavar="BALANCED,VIVID",
        help="the most fidelity that the presets balanced and vivid may lose, in dB for psnr and lr_consistency, "
        "else in percent (default: 0.25,0.7 dB or 1,3 percent)",
    )
    add("--rule", help="rule that picks the preset `rule`, such as 'max perception, lose <= 0.5 dB'")
    data = parser.add_argument_group("data and devices")
    add = data.add_argument
    add_crop(data)
    add(
        "--crops",
        type=whole(1),
        default=1,
        metavar="N",
        help="crops per photograph, about its centre: 1, 4, 9, ... (default: 1)",
    )
    add_limit(data, "take the first N photographs")
    add("--batch", type=whole(1), default=1, metavar="N", help="images per call and device (default: 1)")
    add(
        "--candidate-batch",
        type=whole(1),
        default=16,
        metavar="N",
        help="candidates per call of the network (default: 16)",
    )
    add_hosts(data)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the arguments, with all checks that need no model. Wrong arguments exit with code 2, as argparse does."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if not args.closed_loop and (
        args.rule or args.losses or args.profile or args.search or args.temperatures or args.projections != "0"
    ):
        names = "--rule, --losses, --profile, --temperatures, --projections and --search"
        parser.error(f"{names} belong to the closed loop: give --closed-loop too")
    if conflict := find_hosts_conflict(args):
        parser.error(conflict)
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if the file is written, 1 after one sentence on an error, 130 after Ctrl-C."""
    args = parse(sys.argv[1:] if argv is None else argv)
    return exit_code(lambda: _run(args), smaller="a smaller --candidate-batch or --batch")


def make_choices(args: argparse.Namespace) -> "Choices":
    """Make the choices of a calibration from the arguments, and check them. Raises ValueError."""
    from jaxsr.calibration.candidates import parse_grid, parse_profiles
    from jaxsr.calibration.plan import Choices
    from jaxsr.options import Options

    names = ("rule", "seed", "forward_ode", "objective")
    return Choices(
        **{name: getattr(args, name) for name in names},
        candidates=parse_grid(args.candidates),
        multiples=parse_grid(args.multiples, "--multiples"),
        temperatures=parse_grid(args.temperatures, "--temperatures") if args.temperatures else (),
        projections=tuple(sorted({0.0, *parse_grid(args.projections, "--projections")})),
        profiles=parse_profiles(args.profile or "constant"),
        search=args.search or 0,
        losses=_two_losses(args.losses) if args.losses else None,
        gradient=GradientForm(through=args.through, reference_variance=args.reference_variance),
        metrics=tuple(args.closed_loop.split(",")) if args.closed_loop else (),
        options=Options(**{name: getattr(args, name) for name in ("steps", "sampler", "thinning", "precision")}),
    )


def _two_losses(text: str) -> tuple[float, float]:
    """Parse --losses. Raises ValueError unless it is two numbers."""
    from jaxsr.calibration.candidates import parse_grid

    losses = parse_grid(text, "--losses")
    if len(losses) != 2:
        raise ValueError(f"--losses: needs two numbers, of balanced and of vivid, such as 0,0.25; got {text!r}.")
    return losses[0], losses[1]


def _run(args: argparse.Namespace) -> int:
    import jax

    check_json_output(args.output, overwrite=args.overwrite, example="calib.json")
    joined = join_hosts(args)
    from jaxsr.calibration.plan import CalibrationRun
    from jaxsr.calibration.plots import write_plots
    from jaxsr.calibration.run import calibrate
    from jaxsr.data.pairs import open_pairs
    from jaxsr.hub.cards import check_can_run
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.runtime.progress import pass_bar
    from jaxsr.upscaling.loading import load

    choices = make_choices(args)
    check_can_run(args.model, mask=False)
    upscaler = load(args.model, accept_license=args.accept_license)
    enable_compilation_cache(upscaler.preset.network.model_channels, args.precision)
    sizes = {"scale": upscaler.preset.scale, "crop": args.crop, "crops": args.crops, "limit": args.limit}
    say_left_out([args.pairs, args.lr_pairs])
    pairs = open_pairs(args.pairs, args.lr_pairs, **sizes)
    first = jax.process_index() == 0
    written = [args.output]
    with say_costs() if first else nullcontext(), pass_bar() if first else nullcontext() as progress:
        shown = {}
        if first:
            announce = announcer(upscaler.weights(args.precision), args.crop, jax.device_count())
            shown = {"progress": progress, "announce": announce}
        run = CalibrationRun(
            upscaler=upscaler,
            name=args.model,
            pairs=pairs,
            choices=choices,
            batch=args.batch,
            candidate_batch=args.candidate_batch,
            **shown,
        )
        calibration = calibrate(
            run,
            args.output,
            overwrite=args.overwrite,
            extras=lambda found: written.extend(write_plots(run, found, args.output)),
        )
    if first:
        for name, preset in calibration.presets.items():
            words = [" ".join(f"{scale:+.3g}" for scale in preset["scale"])]
            if set(preset["temperature"]) != {1.0}:
                words.append(f"temperature {' '.join(f'{number:.3g}' for number in preset['temperature'])}")
            if preset["projection"]:
                words.append(f"projection {preset['projection']:g}")
            print(f"{name:9} {', '.join(words)}  ({preset['rule']})")
            if preset["change"]:
                changes = ", ".join(f"{metric} {change:+.3g}" for metric, change in preset["change"].items())
                print(f"{'':9} against the plain sampler: {changes}")
            if preset["warning"]:
                print(f"{'':9} note: {preset['warning']}")
        for line in _search_gains(calibration):
            print(line)
        if ends := _at_an_end(calibration):
            steps = ", ".join(f"t = {t}" for t in ends)
            print(f"open-loop: the best scale lies beyond the multiples ({steps}); widen --multiples")
        print(f"written: {', '.join(map(str, written))}")
    leave_hosts(joined)
    return 0


def _at_an_end(calibration: "Calibration") -> list[int]:
    """List the steps whose norm objective took the last multiple, although its closed form lies beyond it."""
    found = calibration.open_loop
    last, closed = max(map(abs, found["multiples"])), found["step-norm"]["weighted_median"]
    return [t for t, multiple in enumerate(closed, 1) if calibration.objective != "lstsq" and multiple > last]


def _search_gains(calibration: "Calibration") -> list[str]:
    """Write one line for each preset that the search changed: what it gained over one number for all steps."""
    closed = calibration.closed_loop or {"picks": {}}
    lines = []
    for name, at in closed["picks"].items():
        rows = [closed["rows"][k] for k in (closed["picks_constant"][name], closed["picks_before_search"][name], at)]
        if rows[1] is not rows[2]:
            labels = ("one number", f"best profile ({rows[1]['profile']} {rows[1]['value']:g})", "search")
            words = (closed["fidelity"], closed["perception"])
            cells = [
                f"{label} {' '.join(f'{row[word]:.4g}' for word in words)}"
                for label, row in zip(labels, rows, strict=True)
            ]
            lines.append(f"search: {name}, {' and '.join(words)}: {'; '.join(cells)}")
    return lines
