"""Fit the model of NIQE on good photographs: python -m jaxsr.cli.fit_niqe photos/ -o niqe.npz

The fit takes the blocks of 96 x 96 pixels whose sharpness exceeds 0.75 times the sharpness of the sharpest block in
their photograph (Mittal et al., 2013). It needs a few hundred blocks; the paper used 125 photographs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from jaxsr.cli.exits import exit_code, say
from jaxsr.cli.parser import Parser, program
from jaxsr.metrics.niqe import LUMAS
from jaxsr.metrics.niqe_fit import THRESHOLD, fit, list_photos, sharp_features, write_model


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options."""
    name = program("fit-niqe", "jaxsr.cli.fit_niqe")
    parser = Parser(prog=name, description=(__doc__ or "").split(":")[0], allow_abbrev=False)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="photographs and folders of them")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help=".npz file to write")
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="least sharpness of a block, relative to the sharpest block"
    )
    parser.add_argument("--luma", choices=LUMAS, default="ycbcr", help="luma that the model will be used with")
    parser.add_argument("--source", default="", help="note on the photographs and their licence, kept in the file")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if the model is written, 1 after one sentence on an error, 130 after Ctrl-C."""
    args = make_parser().parse_args(argv)
    return exit_code(lambda: _fit(args))


def _fit(args: argparse.Namespace) -> int:
    if args.output.suffix.lower() != ".npz":
        raise ValueError(f"--output: {args.output} is not the name of an .npz file; give a name that ends in .npz")
    paths = list_photos(args.images)
    features = np.concatenate([sharp_features(path, args.threshold, args.luma) for path in paths])
    mean, covariance = fit(features)
    write_model(args.output, mean, covariance, args.source)
    say(f"{args.output}: {len(features)} blocks of {len(paths)} photographs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
