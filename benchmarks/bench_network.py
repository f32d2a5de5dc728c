"""Measure time, achieved FLOP/s and memory of the networks at released size, beside the same layers in PyTorch.

    python -m benchmarks.bench_network --rival --torch-compile -o benchmarks/results/network.json    # all, on a GPU
    python -m benchmarks.bench_network --stages unet --sizes 64 --batches 1 --dtypes float32          # minutes on a CPU

Stages are one call of the network (`unet`), `encode` and `decode` of the autoencoder, and whole sampling in 4 or 15
steps (`s4`, `s15`). Whole sampling is one program: bicubic enlargement, encoding, the chain with its noise, decoding.
--sizes are sides of the LR image. Weights are random, because their values do not affect the time.

float32 is computed as such (no TF32). In bfloat16, our kernels are rounded once, as for sampling. Autocast rounds
PyTorch's parameters in each call. All programs of a line take turns. `time / jaxsr` is the median of the ratios within
one turn; above 1, jaxsr is faster. `GFLOP` counts the plain layers (benchmarks/flops.py) and is the same for all
programs. `of peak` is relative to the fastest of some large matrix products and a convolution in that dtype, measured
in the same run by JAX.

The memory of jaxsr is that of temporaries, arguments and results of the compiled program. The memory of PyTorch, on a
GPU, is the most that was allocated in a call, with the weights of all PyTorch networks.

The rival (benchmarks/rival.py) needs PyTorch; --torch-repo adds the original from your own checkout. A program that
fails is left out, and the file records the reason.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import jax

from benchmarks.flops import stage_flops
from benchmarks.harness import Call, command_line, machine, markdown, run_benchmark, turns, write_results
from benchmarks.network_cases import DTYPES, STAGES, Case, make_inputs, matrix_peak, our_program, random_params
from jaxsr.models.presets import PRESETS, ModelPreset, PixelCodecConfig
from jaxsr.models.swin_unet import SwinUNetConfig

Row = dict[str, Any]
Note = Callable[[str], None]
Started = tuple[Call, float | None]  # a call without arguments, and its memory in bytes if known
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")


def make_rivals(args: argparse.Namespace, preset: ModelPreset, params: Mapping[str, Any], note: Note) -> dict[str, Any]:
    """Make the networks in PyTorch, by program name. There are none if not requested or without PyTorch."""
    if not (args.rival or args.torch_compile or args.torch_repo):
        print("the rival is not measured: give --rival, which needs PyTorch")
        return {}
    try:
        import torch  # pyright: ignore[reportMissingImports]  # noqa: F401
    except (ImportError, OSError) as error:  # OSError: its libraries do not fit this machine
        note(f"the rival is not measured: {error}; see https://pytorch.org")
        return {}
    from benchmarks import rival

    rivals = {"torch eager": rival.make(preset, params)}
    if args.torch_repo:
        rivals["original eager"] = rival.original(rivals["torch eager"], args.torch_repo)
    return rivals


def starters(
    case: Case, preset: ModelPreset, params: Mapping[str, jax.Array], rivals: Mapping[str, Any], mode: str | None
) -> dict[str, Callable[[], Started]]:
    """Return the functions that make the programs of a case, by name."""
    found: dict[str, Callable[[], Started]] = {"jaxsr": lambda: our_program(preset, params, case)}
    if not rivals:
        return found
    from benchmarks import rival

    def theirs(make: Callable[[], Any]) -> Callable[[], Started]:
        inputs, schedule = make_inputs(preset, case), case.schedule(preset)
        return lambda: rival.start(make(), case.stage, inputs, schedule, case.dtype)

    found |= {name: theirs(lambda one=one: one) for name, one in rivals.items()}
    if mode:
        found["torch compile"] = theirs(lambda: rival.compiled(rivals["torch eager"], mode))
    return found


def start_all(makers: Mapping[str, Callable[[], Started]], where: str, note: Note) -> dict[str, Started]:
    """Start all programs. One that fails to compile, or needs too much memory, is noted and left out."""
    started = {}
    for name, make in makers.items():
        try:
            call, memory = make()
            jax.block_until_ready(call())
            started[name] = call, memory
        except RuntimeError as error:
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            note(f"{where}, {name}: left out ({type(error).__name__}: {reason})")
    return started


def make_rows(case: Case, started: Mapping[str, Started], flops: float, peak: float, runs: int) -> list[Row]:
    """Time all programs in turns, and make one row for each."""
    seconds, rows = turns({name: call for name, (call, _) in started.items()}, runs), []
    ours = seconds.get("jaxsr")
    for name, times in seconds.items():
        middle, memory = statistics.median(times), started[name][1]
        row = {**vars(case), "program": name, "median s": middle, "GFLOP": flops / 1e9}
        row |= {"TFLOP/s": flops / middle / 1e12, "of peak": flops / middle / peak}
        ratio = statistics.median(a / b for a, b in zip(times, ours, strict=True)) if ours else None
        rows.append(row | {"memory MB": memory and memory / 1e6, "time / jaxsr": ratio})
    return rows


def print_row(row: Row) -> None:
    what = f"{row['stage']} {row['size']}x{row['size']} batch {row['batch']} {row['dtype']} {row['program']}"
    ratio = "" if row.get("time / jaxsr") is None else f", {row['time / jaxsr']:.2f} x jaxsr's time"
    print(
        f"{what}: {row['median s']:.4f} s, {row['TFLOP/s']:.3g} TFLOP/s, {row['of peak']:.0%} of peak{ratio}",
        flush=True,
    )


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="realsr_s4_v3", metavar="PRESET", help="preset (default: %(default)s)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128], help="sides of the LR image in pixels")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--runs", type=int, default=5, help="timed calls of each program (the result is their median)")
    parser.add_argument("--rival", action="store_true", help="also measure PyTorch")
    modes = {"nargs": "?", "const": "default", "choices": COMPILE_MODES, "metavar": "MODE"}
    parser.add_argument("--torch-compile", **modes, help="also measure torch.compile: " + ", ".join(COMPILE_MODES))
    parser.add_argument("--torch-repo", type=Path, metavar="DIR", help="also measure your checkout of ResShift")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="file for command, machine and rows")
    return parser


def check(args: argparse.Namespace) -> ModelPreset:
    """Check the options, make the folder of the output, and return the preset.

    Raises:
        ValueError, OSError: if the options cannot be measured, or the folder cannot be made.
    """
    name = args.model.replace("-", "_")
    swin = {name: preset for name, preset in PRESETS.items() if isinstance(preset.network, SwinUNetConfig)}
    known = [name for name, preset in swin.items() if not preset.network.cond_mask]
    if name not in known:
        raise ValueError(f"--model: cannot measure {args.model!r}; choose one of {', '.join(known)}.")
    preset = PRESETS[name]
    if isinstance(preset.codec, PixelCodecConfig) and {"encode", "decode"} & {*args.stages}:
        raise ValueError(f"--stages: {args.model} has no autoencoder; give unet, s4 and s15 only.")
    if wrong := [size for size in args.sizes if size < 1 or size % preset.align]:
        raise ValueError(f"--sizes: must be positive multiples of {preset.align} for {args.model}, got {wrong[0]}.")
    if min(args.runs, *args.batches) < 1:
        raise ValueError("--runs and --batches must be at least 1.")
    if args.output:  # so that an error comes before the measurements
        args.output.parent.mkdir(parents=True, exist_ok=True)
    return preset


def measure(args: argparse.Namespace, command: str) -> None:
    """Measure all cases. Print each row when it is done, then print the table and write the file."""
    preset, left_out = check(args), []

    def note(line: str) -> None:
        left_out.append(line)
        print(f"note: {line}", file=sys.stderr)

    params = random_params(preset)
    rivals, on_device, rows = make_rivals(args, preset, params, note), jax.device_put(params), []
    peaks = {dtype: matrix_peak(dtype, args.runs) for dtype in args.dtypes}
    print(f"{machine()}; peak TFLOP/s: {', '.join(f'{name} {peak / 1e12:.3g}' for name, peak in peaks.items())}")
    for stage, size, batch, dtype in product(args.stages, args.sizes, args.batches, args.dtypes):
        case = Case(stage, size, batch, dtype)
        makers = starters(case, preset, on_device, rivals, args.torch_compile)
        started = start_all(makers, f"{stage} {size}x{size} batch {batch} {dtype}", note)
        flops = stage_flops(preset, stage, size, batch, case.steps)
        for row in make_rows(case, started, flops, peaks[dtype], args.runs):
            rows.append(row if rivals else {k: v for k, v in row.items() if k != "time / jaxsr"})
            print_row(rows[-1])
    if rows:
        print("\n" + markdown(rows))
    content = {"model": preset.name, "runs": args.runs, "peak TFLOP/s": {k: v / 1e12 for k, v in peaks.items()}}
    if rivals:
        from benchmarks.rival import describe

        content["rival"] = describe()
    if args.output:
        write_results(args.output, command, **content, rows=rows, **{"left out": left_out})


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    # JAX and PyTorch share the GPU, but by default JAX reserves three quarters of its memory. JAX reads this variable
    # when it first uses the GPU.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return run_benchmark(lambda: measure(args, command_line("bench_network", argv)))


if __name__ == "__main__":
    sys.exit(main())
