"""Fit the model of NIQE on good photographs: python -m jaxsr.cli.fit_niqe photos/ -o niqe.npz

In every photograph those blocks of 96 x 96 pixels count whose sharpness exceeds 0.75 times that of its sharpest block
(Mittal et al., 2013). A few hundred blocks are needed; the paper used 125 photographs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from jaxsr.metrics.niqe import LUMAS
from jaxsr.metrics.niqe_fit import THRESHOLD, fit, list_photos, sharp_features, write_model


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m jaxsr.cli.fit_niqe", description=(__doc__ or "").split(":")[0])
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="photographs and folders of them")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="the model to write, .npz")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="least sharpness, of the sharpest block's")
    parser.add_argument("--luma", choices=LUMAS, default="ycbcr", help="the luma it will be used with")
    parser.add_argument("--source", default="", help="a note on the photographs and their licence, kept in the file")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 when the model is written, 1 after one sentence on an error."""
    args = make_parser().parse_args(argv)
    try:
        if args.output.suffix.lower() != ".npz":
            raise ValueError(f"{args.output}: the model is written as .npz; give such a name")
        paths = list_photos(args.images)
        features = np.concatenate([sharp_features(path, args.threshold, args.luma) for path in paths])
        mean, covariance = fit(features)
        write_model(args.output, mean, covariance, args.source)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.output}: {len(features)} blocks of {len(paths)} photographs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
