"""Convert released PyTorch checkpoints and verify them: python -m weight_conversion convert A.pth B.pth -o DIR"""

import argparse
import sys
from pathlib import Path

from jaxsr.cli.exits import exit_code
from jaxsr.cli.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Make the parser with the options of the two commands."""
    epilog = "exit code: 0 done, 1 error or above tolerance, 2 wrong usage"
    program = "jaxsr" if Path(sys.argv[0]).stem == "jaxsr" else "python -m weight_conversion"
    parser = Parser(prog=program, description=__doc__, epilog=epilog)
    commands = parser.add_subparsers(dest="command", required=True)

    convert = commands.add_parser("convert", help="convert two .pth or .safetensors files", epilog=epilog)
    convert.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the network and its autoencoder")
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the checkpoint")
    convert.add_argument("--preset", metavar="NAME", help="model or preset (default: from files and names)")
    convert.add_argument("--overwrite", action="store_true", help="replace an existing checkpoint")
    convert.add_argument("--strict", action="store_true", help="refuse entries of a file that are no part of a network")

    verify = commands.add_parser("verify", help="compare with golden arrays or the original code", epilog=epilog)
    verify.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="checkpoint; for a sampler, also its partner"
    )
    verify.add_argument("--config", type=Path, metavar="JSON", help="hyperparameters (default: from keys and shapes)")
    against = verify.add_mutually_exclusive_group(required=True)
    against.add_argument("--golden", type=Path, metavar="NPZ", help="golden inputs and outputs to compare with")
    against.add_argument("--torch-repo", type=Path, metavar="DIR", help="your checkout of the original PyTorch code")
    kinds = ("unet", "autoencoder", "sampler")
    verify.add_argument("--kind", choices=kinds, help="kind of the golden file (default: from its name)")
    verify.add_argument("--torch-target", metavar="MODULE:CLASS", help="class to compare with (default: from ResShift)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0, 1 above the tolerance or after one sentence on an error, 130 after Ctrl-C."""
    args = make_parser().parse_args(argv)
    return exit_code(lambda: _convert(args) if args.command == "convert" else _verify(args))


def _convert(args: argparse.Namespace) -> int:
    from weight_conversion.convert import convert_files

    chosen = {name: getattr(args, name) for name in ("preset", "overwrite", "strict")}
    path = convert_files(args.files, args.output, **chosen)
    print(f"wrote {path}; use it with  python -m jaxsr.sample -n {args.output}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from weight_conversion.report import Comparison, print_report, rows

    names = ("files", "golden", "torch_repo", "config", "kind", "torch_target")
    return 1 if print_report(rows(Comparison(**{name: getattr(args, name) for name in names}))) else 0


if __name__ == "__main__":
    sys.exit(main())
