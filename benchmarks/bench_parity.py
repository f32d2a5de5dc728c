"""Whether this device computes the released networks' numbers: python -m benchmarks.bench_parity -o FILE

The small networks of random weights in tests/parity/golden, and what the original program made of them: the network's
prediction, encoding and decoding in float32 and in bfloat16, and whole chains of 4 and 15 steps with all that arises in
them in float32. An error is max |ours - golden| / max |golden|; what is allowed is the one table of
`weight_conversion.tolerances`. Exit code 1 where an error is larger. `--golden DIR` takes another folder of such files.
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
    """The golden network and autoencoder as one model, and their parameters."""
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
    """Prediction, encoding and decoding at one dtype."""
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
    """The largest error of every array of a chain, in float32."""
    golden, config = folder / f"sampler_{steps}.npz", folder / f"sampler_{steps}_config.json"
    files = [folder / f"{stem}.pth" for stem in ("unet_sr", "vq_f4")]
    for found in largest_errors(verify_rows(Comparison(files=files, golden=golden, config=config))):
        yield row(f"chain of {steps[1:]} steps", "float32", found.array, found.error, found.tolerance)


def _case(path: Path, name: str, *arrays: str) -> dict[str, jax.Array]:
    """Some arrays of a case. Raises ValueError where the file lacks one."""
    golden = load_golden(path)
    if missing := [array for array in arrays if f"{name}/{array}" not in golden]:
        raise ValueError(f"{path}: lacks the array {name}/{missing[0]}.")
    return {array: jnp.asarray(nhwc(golden[f"{name}/{array}"])) for array in arrays}


def run(args: argparse.Namespace, command: str) -> None:
    """Measure, print the table, write the file. Raises ValueError where an error is larger than allowed."""
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
        raise ValueError(f"{one['what']}, {one['array']} in {one['dtype']}: {one['error']:.2g} > {one['allowed']:.2g}.")


def main(argv: Sequence[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_parity", description=__doc__, formatter_class=raw)
    parser.add_argument("--golden", type=Path, default=GOLDEN, metavar="DIR", help="(default: tests/parity/golden)")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of the rows")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("bench_parity", argv)))


if __name__ == "__main__":
    sys.exit(main())
