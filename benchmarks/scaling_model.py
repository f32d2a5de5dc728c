"""Model the calibration sweep on many devices, on paper: python -m benchmarks.scaling_model [--costs FILE]

    python -m benchmarks.scaling_model                                 # from counts alone: docs/scaling.md
    python -m benchmarks.bench_costs -o costs.json                     # on the machine in question
    python -m benchmarks.scaling_model --costs costs.json --devices 8 64 512

Without costs it prints rounds, floating-point operations and bytes. With the seconds that `bench_costs` measured on one
device, it prints hours and efficiencies of a sweep on many devices of that kind. The formulas are in docs/scaling.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.harness import command_line, markdown, run_benchmark, write_results

RELEASED_GFLOP = {"encode": 345.0, "network": 101.0, "decode": 671.0}
"""GFLOP of the released x4 models for an LR image of 64x64 (latent 64x64, HR 256x256); a multiply-add counts as two."""
RELEASED_PARAMETERS = 173_916_365
SCORE_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A closed loop and the machine that it runs on. Names are those of `calibrate`'s options.

    `batch` counts images per device and call.
    """

    images: int = 10_000
    candidates: int = 1_000
    steps: int = 4
    metrics: int = 2
    batch: int = 1
    candidate_batch: int = 16
    devices: int = 8
    devices_per_host: int = 8

    def __post_init__(self) -> None:
        if low := [field.name for field in fields(self) if getattr(self, field.name) < 1]:
            raise ValueError(f"--{low[0].replace('_', '-')}: must be at least 1.")

    @property
    def rounds(self) -> int:
        """The number of calls of the compiled sweep: images over devices x batch, the last call filled up."""
        return -(-self.images // (self.devices * self.batch))

    @property
    def slots(self) -> int:
        """The number of candidates that go through the network: chunks of one size, the last one filled up."""
        chunks = -(-self.candidates // self.candidate_batch)
        return chunks * -(-self.candidates // chunks)

    @property
    def local_devices(self) -> int:
        """The number of devices of one host."""
        return min(self.devices, self.devices_per_host)

    @property
    def filling(self) -> float:
        """The useful part of the images that the devices compute: the efficiency that counting alone allows."""
        return self.images / (self.rounds * self.devices * self.batch)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds of each part, as `bench_costs` measures them.

    Attributes:
        encode, first: per image: its encoding, and the first network call, which all candidates share.
        network, decode: per candidate and image: each further network call, and decoding with scoring.
        read: per pair: reading it, in the one thread of a host that reads ahead.
        key: per pair: hashing its content and making its key, on its host.
        number: per score: recording it in the journal, which process 0 writes.
        start: once: loading weights and compiling.
        exchange: per round: exchanging scores between hosts; 0 with one host, or if not measured.
    """

    encode: float
    first: float
    network: float
    decode: float
    read: float = 0.0
    key: float = 0.0
    number: float = 0.0
    start: float = 0.0
    exchange: float = 0.0


def device_work(sweep: Sweep, encode: float, first: float, network: float, decode: float) -> float:
    """Compute the cost of one round on one device, in the unit of the parts: seconds, or FLOP."""
    per_candidate = (sweep.steps - 1) * network + decode
    return sweep.batch * (encode + first + sweep.slots * per_candidate)


def sweep_seconds(sweep: Sweep, costs: Costs) -> float:
    """Predict the seconds of the sweep: rounds one after another, while the next pairs are read (docs/scaling.md)."""
    read = sweep.batch * sweep.local_devices * costs.read
    device = device_work(sweep, costs.encode, costs.first, costs.network, costs.decode)
    common = device + sweep.batch * sweep.local_devices * costs.key + costs.exchange
    in_round = sweep.batch * sweep.devices
    in_last = sweep.images - (sweep.rounds - 1) * in_round
    per_image = sweep.candidates * sweep.metrics * costs.number
    busy, last = common + in_round * per_image, common + in_last * per_image
    return costs.start + read + (sweep.rounds - 1) * max(read, busy) + last


def efficiency(sweep: Sweep, costs: Costs) -> float:
    """Compute the efficiency T(1) / (D T(D)) of D devices."""
    return sweep_seconds(replace(sweep, devices=1), costs) / (sweep.devices * sweep_seconds(sweep, costs))


def exchanged_bytes(sweep: Sweep) -> int:
    """Count the bytes of scores that reach every host in the whole sweep. With one host none leave it."""
    return sweep.rounds * sweep.devices * sweep.batch * sweep.slots * sweep.metrics * SCORE_BYTES


def counted(sweep: Sweep, gflop: dict[str, float] = RELEASED_GFLOP) -> dict[str, Any]:
    """Make one row of the numbers that need no measurement."""
    per_round = device_work(sweep, gflop["encode"], gflop["network"], gflop["network"], gflop["decode"])
    tera = sweep.rounds * per_round / 1e3
    row = {"devices": sweep.devices, "rounds": sweep.rounds, "filled": sweep.filling}
    row |= {"PFLOP per device": tera / 1e3, "hours at 1 TFLOP/s achieved": tera / 3600}
    return row | {"MB to every host": exchanged_bytes(sweep) / 1e6 if sweep.devices > sweep.devices_per_host else 0.0}


def predicted(sweep: Sweep, costs: Costs) -> dict[str, Any]:
    """Make one row: hours, efficiency, and the seconds of the devices, of reading and of the journal in a round."""
    device = device_work(sweep, costs.encode, costs.first, costs.network, costs.decode)
    hosts = sweep.batch * sweep.devices * sweep.candidates * sweep.metrics * costs.number
    row = {"devices": sweep.devices, "rounds": sweep.rounds, "hours": sweep_seconds(sweep, costs) / 3600}
    row |= {"efficiency": efficiency(sweep, costs), "filled": sweep.filling, "device s/round": device}
    return row | {"read s/round": sweep.batch * sweep.local_devices * costs.read, "journal s/round": hosts}


def read_costs(path: Path) -> tuple[Costs, dict[str, int]]:
    """Read the costs from a result of `bench_costs`, and the batches at which they were measured.

    Raises:
        ValueError, OSError: if the file is not such a result, or cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        costs = Costs(**{name: float(value) for name, value in content["costs"].items()})
        return costs, {name: int(content["settings"][name]) for name in ("batch", "candidate_batch")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"--costs: {path} is not a result of benchmarks.bench_costs; make one with its -o.") from error


def make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling_model", description=__doc__, formatter_class=raw
    )
    add, base = parser.add_argument, Sweep()
    add("--costs", type=Path, metavar="FILE", help="result of bench_costs, which also sets the batches")
    add("--devices", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256, 512], metavar="N")
    add("--devices-per-host", type=int, default=base.devices_per_host)
    add("--images", type=int, default=base.images)
    add("--candidates", type=int, default=base.candidates)
    add("--steps", type=int, default=base.steps)
    add("--metrics", type=int, default=base.metrics)
    add("--batch", type=int, help=f"images per device and call (default: that of --costs, or {base.batch})")
    add("--candidate-batch", type=int, help=f"candidates at once (default: that of --costs, or {base.candidate_batch})")
    add("-o", "--output", type=Path, help="write the rows to this JSON file")
    return parser


def run(args: argparse.Namespace, command: str) -> None:
    """Print the table, write the file."""
    costs, measured = read_costs(args.costs) if args.costs else (None, {})
    chosen = {name: getattr(args, name) for name in ("batch", "candidate_batch") if getattr(args, name) is not None}
    if other := [name for name, value in chosen.items() if measured.get(name, value) != value]:
        name = other[0].replace("_", "-")
        raise ValueError(
            f"--{name}: the costs were measured at {measured[other[0]]}; measure them again for another value."
        )
    names = ("devices_per_host", "images", "candidates", "steps", "metrics")
    sweep = Sweep(**{name: getattr(args, name) for name in names}, **measured | chosen)
    sweeps = [replace(sweep, devices=count) for count in args.devices]
    rows = [counted(one) if costs is None else predicted(one, costs) for one in sweeps]
    print(f"`{command}`\n\n{markdown(rows, digits=4)}")
    if args.output:
        write_results(args.output, command, rows=rows)


def main(argv: Sequence[str] | None = None) -> int:
    args = make_parser().parse_args(argv)
    return run_benchmark(lambda: run(args, command_line("scaling_model", argv)))


if __name__ == "__main__":
    sys.exit(main())
