"""Profile a stage: time every kind of block alone, and compare with the time that its work and its bytes would take.

    python -m benchmarks.bench_profile --stages unet encode decode --size 64 -o benchmarks/results/profile.json

A row is one kind of block at one shape; `times` is how often the stage calls it. `work` is its FLOP over the peak of a
large matrix product. `bytes` is the number of bytes that XLA counts as read and written, over the bandwidth of a large
addition. Both rates are measured in the same run. `gap` is the measured time over the larger of `work` and `bytes`.
XLA counts bytes between its fused loops, so with caches a block may be faster than `bytes`. It counts the body of a
loop once, so both numbers are too small for AttnBlock and Quantizer. `share` is the row's part of the sum of all
rows. The last row is the whole stage. Weights are random.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.harness import Call, command_line, machine, markdown, medians, run_benchmark, write_results
from benchmarks.network_cases import DTYPES, Case, make_inputs, matrix_peak, stage_function
from jaxsr.models import swin_layer, swin_unet, vq_autoencoder
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS
from jaxsr.runtime import onednn
from jaxsr.runtime.compilation import compiler_options

PART = {"unet": "network.", "encode": "codec.", "decode": "codec."}
Row = dict[str, Any]
BLOCKS: tuple[type[nnx.Module], ...] = (
    swin_unet.ResBlock,
    swin_layer.SwinLayer,
    swin_unet.Downsample,
    swin_unet.Upsample,
    vq_autoencoder.ResnetBlock,
    vq_autoencoder.AttnBlock,
    vq_autoencoder.Downsample,
    vq_autoencoder.Upsample,
    vq_autoencoder.Quantizer,
)
BANDWIDTH_BYTES = {"cpu": 2**28, "gpu": 2**32, "tpu": 2**30}


@dataclass(frozen=True)
class Piece:
    """A block as a stage calls it: its structure, and the shapes and types of its parameters and arguments."""

    kind: str
    graph: Any
    state: Any
    arguments: tuple[jax.ShapeDtypeStruct, ...]

    @property
    def name(self) -> str:
        """The kind, size and widths of the piece. Equal pieces have equal names."""
        outputs = [leaf.shape[-1] for path, leaf in nnx.to_flat_state(self.state) if path[-1] == "kernel"]
        _, h, w, c = self.arguments[0].shape
        return f"{self.kind} {h}x{w}, {c} to {outputs[-1] if outputs else c}"


def record(run: Callable[..., object], *arguments: Any) -> list[Piece]:
    """Trace `run` for its shapes, and list every call of a block in it."""
    found: list[Piece] = []

    def recording(call: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        def wrapped(self: nnx.Module, *args: jax.Array, **named: jax.Array) -> jax.Array:
            graph, state = nnx.split(self)
            abstract = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)  # noqa: E731
            given = tuple(map(abstract, (*args, *named.values())))
            found.append(Piece(type(self).__name__, graph, jax.tree.map(abstract, state), given))
            return call(self, *args, **named)

        return wrapped

    calls: dict[Any, Any] = {block: vars(block)["__call__"] for block in BLOCKS}
    try:
        for block, call in calls.items():
            setattr(block, "__call__", recording(call))  # noqa: B010
        jax.eval_shape(run, *arguments)
    finally:
        for block, call in calls.items():
            setattr(block, "__call__", call)  # noqa: B010
    return found


def start(function: Callable[..., object], *shapes: Any) -> tuple[Call, float, float]:
    """Compile a call with random arguments. Returns the call, its FLOP and its bytes, as XLA counts them.

    Both counts are of the same function without oneDNN, because XLA does not count the operations of oneDNN.
    """
    rng = np.random.default_rng(0)

    def draw(like: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(0.05 * rng.standard_normal(like.shape, np.float32), like.dtype)

    arguments = jax.tree.map(draw, shapes)

    def compiled() -> jax.stages.Compiled:  # a new function each time, so that JAX traces it again
        return jax.jit(lambda *given: function(*given), compiler_options=compiler_options()).lower(*arguments).compile()

    program = counted = compiled()
    if onednn.active():
        with mock.patch.object(onednn, "active", return_value=False):
            counted = compiled()
    cost = counted.cost_analysis() or {}
    return (lambda: program(*arguments)), cost.get("flops", 0.0), cost.get("bytes accessed", 0.0)


def bandwidth(runs: int) -> float:
    """Measure the bytes per second that an addition to a large array reads and writes."""
    x = jnp.ones(BANDWIDTH_BYTES[jax.default_backend()] // 4)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    state = {"x": add(x)}

    def call() -> jax.Array:
        state["x"] = add(state["x"])
        return state["x"]

    return 2 * x.nbytes / medians({"add": call}, runs)["add"]


def profile(stage: str, args: argparse.Namespace, peak: float, rate: float) -> list[Row]:
    """Make the rows of a stage: the blocks, the largest share first, then the whole stage."""
    preset, case = PRESETS[args.model.replace("-", "_")], Case(stage, args.size, args.batch, args.dtype)
    shape_of = lambda tree: jax.eval_shape(lambda: tree)  # noqa: E731
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in Model(preset).shapes().items()}
    params = jax.eval_shape(Model(preset, DTYPES[args.dtype]).rounded, params)
    whole, inputs = stage_function(preset, case), shape_of(make_inputs(preset, case))
    run = lambda params, inputs: whole(params, jax.random.key(0), inputs)  # noqa: E731
    pieces: dict[str, list[Piece]] = {}
    for piece in record(run, params, inputs):
        pieces.setdefault(piece.name, []).append(piece)
    started = {
        name: start(lambda state, *given, g=same[0].graph: nnx.merge(g, state)(*given), *parts(same[0]))
        for name, same in pieces.items()
    }
    used = {name: value for name, value in params.items() if name.startswith(PART[stage])}
    started["whole stage"] = start(run, used, inputs)
    seconds = medians({name: call for name, (call, _, _) in started.items()}, args.runs)
    total = sum(seconds[name] * len(same) for name, same in pieces.items())
    rows = []
    for name, (_, flops, read) in started.items():
        count, work, moved = len(pieces.get(name, "1")), flops / peak, read / rate
        row = {"stage": stage, "block": name, "times": count, "ms": 1e3 * seconds[name], "work ms": 1e3 * work}
        row |= {"bytes ms": 1e3 * moved, "gap": seconds[name] / max(work, moved, 1e-9)}
        rows.append(row | {"share": seconds[name] * count / total})
    return sorted(rows[:-1], key=lambda row: -row["share"]) + rows[-1:]


def parts(piece: Piece) -> tuple[Any, ...]:
    return (piece.state, *piece.arguments)


def run(args: argparse.Namespace, command: str) -> None:
    if args.model.replace("-", "_") not in PRESETS:
        raise ValueError(f"--model: unknown preset {args.model!r}; choose one of {', '.join(PRESETS)}.")
    peak, rate = matrix_peak(args.dtype, args.runs), bandwidth(args.runs)
    print(f"{machine()}; {args.dtype}; peak {peak / 1e12:.3g} TFLOP/s, bandwidth {rate / 1e9:.3g} GB/s", flush=True)
    rows: list[Row] = []
    for stage in args.stages:
        rows += profile(stage, args, peak, rate)
        print(f"\n{markdown([row for row in rows if row['stage'] == stage])}", flush=True)
    if args.output:
        write_results(args.output, command, **{"peak FLOP/s": peak, "bandwidth B/s": rate, "rows": rows})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="realsr_s4_v3", metavar="PRESET", help="preset (default: %(default)s)")
    parser.add_argument("--stages", nargs="+", choices=tuple(PART), default=list(PART))
    parser.add_argument("--size", type=int, default=64, help="side of the LR image in pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    parser.add_argument("--runs", type=int, default=5, help="timed calls of each block (the result is their median)")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="file for command, machine and rows")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_profile", argv)))


if __name__ == "__main__":
    sys.exit(main())
