"""Check that this device computes the released networks' numbers: python -m benchmarks.bench_parity -o FILE

tests/parity/golden holds small networks with random weights, and what the original program computed with them. The
network's prediction, encoding and decoding are compared in float32 and in bfloat16. Whole chains of 4 and 15 steps,
with all their intermediate arrays, are compared in float32. An error is max |ours - golden| / max |golden|; the table
in `weight_conversion.tolerances` holds the largest errors allowed. The exit code is 1 if an error is larger.
`--golden DIR` reads another folder of such files.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness import command_line, machine, markdown, run_benchmark, write_results
from benchmarks.network_cases import DTYPES
from jaxsr.models.model import Model
from jaxsr.models.presets import ModelPreset, ScheduleConfig
from jaxsr.runtime.compilation import compiler_options
from weight_conversion.convert import read_source
from weight_conversion.report import Comparison, largest_errors
from weight_conversion.report import rows as verify_rows
from weight_conversion.settings import unet_config, vq_config
from weight_conversion.tolerances import TOLERANCES
from weight_conversion.verify import load_golden, nhwc, relative_error

GOLDEN = Path(__file__).parents[1] / "tests" / "parity" / "golden"
CHAINS = ("s4", "s15")
Row = dict[str, Any]


def row(what: str, dtype: str, array: str, error: float, allowed: float) -> Row:
    return {"what": what, "dtype": dtype, "array": array, "error": error, "allowed": allowed, "ok": error <= allowed}


def small_model(folder: Path, dtype: str) -> tuple[Model, dict[str, jax.Array]]:
    """Load the golden network and autoencoder as one model, and their parameters."""
    configs = [json.loads((folder / f"{stem}_config.json").read_text()) for stem in ("unet_sr", "vq_f4")]
    network, codec = unet_config(configs[0]), vq_config(configs[1])
    schedule = ScheduleConfig(steps=4, min_noise_level=0.2)
    preset = ModelPreset(name="golden", scale=4, network=network, codec=codec, schedule=schedule, steps=4)
    parts = {"network": ("unet_sr", network), "codec": ("vq_f4", codec)}
    params = {
        f"{part}.{name}": jnp.asarray(value)
        for part, (stem, config) in parts.items()
        for name, value in read_source(folder / f"{stem}.pth").float32(config).items()
    }
    model = Model(preset, DTYPES[dtype])
    return model, model.rounded(params)


def network_rows(folder: Path, dtype: str, jit: Callable[..., Any]) -> Iterator[Row]:
    """Compare prediction, encoding and decoding at one dtype."""
    model, params = small_model(folder, dtype)
    case = _case(folder / "unet_sr_io.npz", "case0", "x", "lq", "t", "out")
    x, lq = case["x"], case["lq"]
    times = jnp.asarray(case["t"], jnp.int32)
    predict = jit(lambda params, x, t, lq: model.predict(params, x, jnp.ones(1), t, x, lq))
    allowed = TOLERANCES["network" if dtype == "float32" else "bfloat16"]
    yield row("network", dtype, "out", relative_error(predict(params, x, times, lq), case["out"]), allowed)
    case = _case(folder / "vq_f4_io.npz", "case1", "x", "quantized", "encode", "decode")
    for name, call, given in (("encode", model.encode, "x"), ("decode", model.decode, "quantized")):
        yield row("autoencoder", dtype, name, relative_error(jit(call)(params, case[given]), case[name]), allowed)


def chain_rows(folder: Path, steps: str) -> Iterator[Row]:
    """Compare a chain in float32, and report the largest error of every array."""
    golden, config = folder / f"sampler_{steps}.npz", folder / f"sampler_{steps}_config.json"
    files = [folder / f"{stem}.pth" for stem in ("unet_sr", "vq_f4")]
    for found in largest_errors(verify_rows(Comparison(files=files, golden=golden, config=config))):
        yield row(f"chain of {steps[1:]} steps", "float32", found.array, found.error, found.tolerance)


def _case(path: Path, name: str, *arrays: str) -> dict[str, jax.Array]:
    """Load some arrays of a case. Raises ValueError if the file lacks one."""
    golden = load_golden(path)
    if missing := [array for array in arrays if f"{name}/{array}" not in golden]:
        raise ValueError(f"{path}: lacks the array {name}/{missing[0]}.")
    return {array: jnp.asarray(nhwc(golden[f"{name}/{array}"])) for array in arrays}


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the table, write the file. Raises ValueError if an error is larger than allowed."""
    found: list[Row] = []
    jit = partial(jax.jit, compiler_options=compiler_options())
    for dtype in DTYPES:
        found += network_rows(args.golden, dtype, jit)
    for steps in CHAINS:
        found += chain_rows(args.golden, steps)
    print(f"`{command}`  \n{machine()}\n\n{markdown(found)}")
    if args.output:
        write_results(args.output, command, rows=found)
    if wrong := [one for one in found if not one["ok"]]:
        one = wrong[0]
        where = f"{one['what']}, {one['array']} in {one['dtype']}"
        raise ValueError(f"{where}: the error {one['error']:.2g} is above the allowed {one['allowed']:.2g}.")


def main(argv: Sequence[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_parity", description=__doc__, formatter_class=raw)
    parser.add_argument(
        "--golden", type=Path, default=GOLDEN, metavar="DIR", help="golden files (default: tests/parity/golden)"
    )
    parser.add_argument("-o", "--output", type=Path, help="write the rows to this JSON file")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_parity", argv)))


if __name__ == "__main__":
    sys.exit(main())
