"""Write the LR images of data sets as files, for upscalers that run elsewhere.

    python -m benchmarks.lr_images --data ../shared/data --sets div2k realsr -o LR

They are those that `evaluate suite` gives to its methods: the set's own, or else MATLAB's bicubic reductions. Each set
has a subfolder.
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

from benchmarks.harness import run_benchmark
from benchmarks.quality import to_uint8
from benchmarks.readings import items_of
from jaxsr.cli.evaluate_commands import SETS
from jaxsr.cli.shared_options import whole
from jaxsr.evaluation.images import load
from jaxsr.evaluation.protocol_files import load_protocol
from jaxsr.evaluation.suite import PROTOCOLS
from jaxsr.storage import write_whole


def run(args: argparse.Namespace) -> None:
    for name in args.sets:
        protocol = load_protocol(PROTOCOLS[name])
        items = items_of(name, args.data, protocol, args.limit)
        for item in items:
            (pair,) = load(item, protocol, make_lr=True).pairs
            assert pair.lr is not None
            target = args.output / name / f"{item.name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            Image.fromarray(to_uint8(pair.lr)).save(content, format="PNG")
            write_whole(target, content.getvalue())
        print(f"{name}: {len(items)} images")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lr_images", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--limit", type=whole(1), help="images per set, spread evenly over it (default: all)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the images")
    args = parser.parse_args(argv)
    return run_benchmark(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
