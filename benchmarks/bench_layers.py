"""Time single layers of the released networks: by oneDNN, by XLA alone, and in PyTorch.

    python -m benchmarks.bench_layers [--dtypes float32 bfloat16] [--runs 9] [-o FILE]

The layers are 3x3 convolutions, 1x1 convolutions (matrix products), attention in windows of 8x8 and over all positions,
and GroupNorm with SiLU. They get one image of random values. The results are milliseconds: medians of calls that take
turns. The column of oneDNN is empty where it is not called (see `jaxsr.runtime.onednn`), and the column of PyTorch is
empty where it is not installed. PyTorch's tensors have the measured dtype and our memory layout (channels last).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
from flax import nnx

from benchmarks.harness import Call, command_line, machine, markdown, medians, run_benchmark, write_results
from benchmarks.network_cases import DTYPES
from jaxsr.models.convolution import convolve
from jaxsr.models.layers import GroupNorm, silu
from jaxsr.models.products import attend, matmul
from jaxsr.runtime import onednn
from jaxsr.runtime.compilation import compiler_options

CONVOLUTIONS = ((64, 512, 512), (128, 256, 256), (256, 128, 128), (64, 320, 160), (32, 640, 320), (8, 1280, 640))
PRODUCTS = ((4096, 192, 768), (4096, 768, 192), (4096, 512, 512))
ATTENTIONS = ((64, 6, 64, 32), (1, 1, 4096, 512))  # windows, heads, positions, channels
NORMS = ((256, 128), (64, 512))

Layer = tuple[str, Callable[..., jax.Array], tuple[tuple[int, ...], ...]]  # name, our function, shapes of its arguments


def layers() -> list[Layer]:
    """List the layers to measure."""
    found: list[Layer] = []
    for side, inputs, outputs in CONVOLUTIONS:
        shapes = (1, side, side, inputs), (3, 3, inputs, outputs)
        found.append((f"convolution {side}x{side}, {inputs} to {outputs}", convolve, shapes))
    for rows, inputs, outputs in PRODUCTS:
        product = lambda a, b: matmul(a, b, dtype=a.dtype)  # noqa: E731
        found.append((f"product of {rows} rows, {inputs} to {outputs}", product, ((rows, inputs), (inputs, outputs))))
    for shape in ATTENTIONS:
        name = f"attention of {shape[2]} positions, {shape[0] * shape[1]} times, {shape[3]}"
        found.append((name, attend, (shape,) * 3))
    for side, channels in NORMS:
        norm = GroupNorm(channels, epsilon=1e-6, rngs=nnx.Rngs(0))
        shapes = ((1, side, side, channels),)
        found.append((f"norm and SiLU {side}x{side}, {channels}", lambda x, norm=norm: silu(norm(x)), shapes))
    return found


def ours(function: Callable[..., jax.Array], arguments: Sequence[jax.Array], *, by_onednn: bool) -> Call:
    """Compile our function on these arguments, as a call without arguments."""
    options = compiler_options()
    with mock.patch.object(onednn, "active", return_value=by_onednn):
        program = jax.jit(lambda *given: function(*given), compiler_options=options).lower(*arguments).compile()
    return lambda: program(*arguments)


def theirs(name: str, arguments: Sequence[jax.Array], dtype: str) -> Call | None:
    """Make a call of the same layer in PyTorch, on a CPU.

    Returns None if PyTorch is not installed, or if ours runs on another device.
    """
    if jax.default_backend() != "cpu":
        return None
    try:
        import torch  # pyright: ignore[reportMissingImports]
        import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError):
        return None

    def tensor(x: jax.Array) -> Any:
        return torch.from_numpy(np.array(x, np.float32)).to(getattr(torch, dtype))

    first, *rest = map(tensor, arguments)
    if name.startswith("convolution"):
        kernel = rest[0].permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        call = lambda: F.conv2d(first.permute(0, 3, 1, 2), kernel, padding=1)  # noqa: E731
    elif name.startswith("product"):
        transposed = rest[0].T.contiguous()
        call = lambda: F.linear(first, transposed)  # noqa: E731
    elif name.startswith("attention"):
        call = lambda: F.scaled_dot_product_attention(first, *rest)  # noqa: E731
    else:
        norm = torch.nn.GroupNorm(32, first.shape[3], eps=1e-6).to(first.dtype)
        call = lambda: F.silu(norm(first.permute(0, 3, 1, 2)))  # noqa: E731

    def without_gradients() -> None:
        with torch.inference_mode():
            call()

    return without_gradients


def measure(layer: Layer, dtype: str, runs: int) -> dict[str, Any]:
    """Make one row: the milliseconds of every program of a layer."""
    name, function, shapes = layer
    keys = jax.random.split(jax.random.key(0), len(shapes))
    arguments = [jax.random.normal(key, shape, DTYPES[dtype]) for key, shape in zip(keys, shapes, strict=True)]
    calls = {"XLA ms": ours(function, arguments, by_onednn=False)}
    if onednn.active():
        calls["oneDNN ms"] = ours(function, arguments, by_onednn=True)
    if rival := theirs(name, arguments, dtype):
        calls["PyTorch ms"] = rival
    seconds = medians(calls, runs)
    columns = ("XLA ms", "oneDNN ms", "PyTorch ms")
    return {"layer": name, "dtype": dtype} | {
        column: seconds.get(column) and 1e3 * seconds[column] for column in columns
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--runs", type=int, default=9, help="timed calls of each program (the result is their median)")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="file for command, machine and rows")
    args = parser.parse_args(argv)

    def run() -> None:
        if args.runs < 1:
            raise ValueError("--runs must be at least 1.")
        rows = [measure(layer, dtype, args.runs) for dtype in args.dtypes for layer in layers()]
        print(f"{machine()}\n\n{markdown(rows)}")
        if args.output:
            write_results(args.output, command_line("bench_layers", argv), rows=rows)

    return run_benchmark(run)


if __name__ == "__main__":
    sys.exit(main())
