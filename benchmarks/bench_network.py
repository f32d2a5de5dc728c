"""Time, achieved FLOP/s and memory of the networks at released size, beside the same layers in PyTorch.

    python -m benchmarks.bench_network --rival --torch-compile -o benchmarks/results/network.json    # all of it: a GPU
    python -m benchmarks.bench_network --stages unet --sizes 64 --batches 1 --dtypes float32          # a CPU, minutes

Stages: one call of the network (`unet`), `encode` and `decode` of the autoencoder, and whole sampling in 4 or 15 steps
(`s4`, `s15`: bicubic enlargement, encoding, the chain with its noise, decoding) in one program; --sizes are sides of
the LR image. Weights are random, which changes no time. float32 is computed as such (no TF32); in bfloat16 our kernels
are rounded once, as for sampling, and PyTorch's parameters by autocast in each call, as it does. All programs of a line
take turns; `time / jaxsr` is the median of the ratios in one turn, above 1 where jaxsr is faster. GFLOP are those of
the plain layers (benchmarks/flops.py), one number for all programs. `of peak` is against the fastest of some large
matrix products and a convolution in that dtype, measured in the same run by JAX. Memory: temporaries, arguments and
results of the compiled program (jaxsr); the most that was allocated in a call, with the weights of all PyTorch networks
(PyTorch on a GPU). The rival (benchmarks/rival.py) needs PyTorch; --torch-repo adds the original from your own
checkout. A program that fails is left out, and the file tells why.
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

Row = dict[str, Any]
Note = Callable[[str], None]
Started = tuple[Call, float | None]  # a call without arguments, and its memory in bytes where that is known
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")


def make_rivals(args: argparse.Namespace, preset: ModelPreset, params: Mapping[str, Any], note: Note) -> dict[str, Any]:
    """The networks in PyTorch by the names of their programs, where they are wanted and PyTorch is installed."""
    if not (args.rival or args.torch_compile or args.torch_repo):
        print("the rival is not measured: --rival does that, and needs PyTorch")
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
    """What makes each program of a case, by name."""
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
    """The programs that start: those that cannot be compiled, or need more memory than there is, are noted."""
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
    """One row for every program, after all took turns."""
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
    parser.add_argument("--model", default="realsr_s4_v3", metavar="PRESET", help="(default %(default)s)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128], help="sides of the LR image in pixels")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--runs", type=int, default=5, help="calls of each, of which the median counts")
    parser.add_argument("--rival", action="store_true", help="measure PyTorch too")
    modes = {"nargs": "?", "const": "default", "choices": COMPILE_MODES, "metavar": "MODE"}
    parser.add_argument("--torch-compile", **modes, help="and through torch.compile: " + ", ".join(COMPILE_MODES))
    parser.add_argument("--torch-repo", type=Path, metavar="DIR", help="and the original in your checkout of ResShift")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="write command, machine and rows there")
    return parser


def check(args: argparse.Namespace) -> ModelPreset:
    """The preset, and the folder of the output made; ValueError or OSError for what cannot be measured or written."""
    name = args.model.replace("-", "_")
    known = [name for name, preset in PRESETS.items() if not preset.network.cond_mask]
    if name not in known:
        raise ValueError(f"--model: no {args.model!r} here; choose one of {', '.join(known)}.")
    preset = PRESETS[name]
    if isinstance(preset.codec, PixelCodecConfig) and {"encode", "decode"} & {*args.stages}:
        raise ValueError(f"--stages: {args.model} has no autoencoder; give unet, s4 and s15 only.")
    if wrong := [size for size in args.sizes if size < 1 or size % preset.align]:
        raise ValueError(f"--sizes: {wrong[0]} is no multiple of {preset.align}, which {args.model} needs.")
    if min(args.runs, *args.batches) < 1:
        raise ValueError("--runs and --batches must be at least 1.")
    if args.output:  # before all the work
        args.output.parent.mkdir(parents=True, exist_ok=True)
    return preset


def measure(args: argparse.Namespace, command: str) -> None:
    """All cases, printed one by one, and then as a table and a file."""
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
    # Both allocate on one GPU: JAX would take three quarters of its memory at once. Read when the GPU is first used.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    return run_benchmark(lambda: measure(args, command_line("bench_network", argv)))


if __name__ == "__main__":
    sys.exit(main())
