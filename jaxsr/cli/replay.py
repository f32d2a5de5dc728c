"""Make results again from their records, and say what differs: jaxsr replay result.png.json"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxsr.cli.exits import SOME_FAILED, exit_code, one_line, say
from jaxsr.cli.parser import Parser, program
from jaxsr.cli.shared_options import add_model
from jaxsr.errors import IMAGE_FAILED

if TYPE_CHECKING:
    from jaxsr.batch.replay import FoundRecord
    from jaxsr.upscaling.upscaler import Progress, Upscaler


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    parser = Parser(
        prog=program("replay"),
        description=__doc__,
        epilog="exit code: 0 the same bytes, 1 error, 2 wrong usage, 3 some differ or cannot be made",
        allow_abbrev=False,
    )
    add = parser.add_argument
    text = "results with a record inside, or their sidecars"
    add("records", type=Path, nargs="+", metavar="RECORD", help=text)
    text = "file to write the result to; without it, a result that is missing is written, and one that exists is only "
    add("-o", "--output", type=Path, metavar="FILE", help=f"{text}compared")
    add("-i", "--input", type=Path, metavar="PATH", help="the input, if it is no longer where the record says")
    add_model(parser, None, "the model, if it is no longer where the record says")
    add("--overwrite", action="store_true", help="replace the file that --output names")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if all bytes are the same, 3 if some differ or cannot be made, 1 after an error."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if len(args.records) > 1 and (args.output or args.input):
        parser.error(f"argument {'--output' if args.output else '--input'}: is for a single record")
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from jaxsr.batch.jobs import check_new_file
    from jaxsr.runtime.progress import image_bar

    if args.output:
        check_new_file("--output", args.output, overwrite=args.overwrite)
    same, failed = 0, 0
    models: dict[str, Upscaler] = {}
    with image_bar(len(args.records)) as report:
        for number, path in enumerate(args.records):
            try:
                equal, sentence = _replay(args, path, models, partial(report, number, one_line(path.name)))
            except IMAGE_FAILED as error:
                failed += 1
                say(f"failed: {str(error) or type(error).__name__}", wrong=True)
                continue
            same += equal
            say(sentence, wrong=not equal)
    if len(args.records) > 1:
        say(f"{same} the same, {len(args.records) - same - failed} differ, {failed} failed")
    return 0 if same == len(args.records) else SOME_FAILED


def _replay(
    args: argparse.Namespace, path: Path, models: "dict[str, Upscaler]", progress: "Progress"
) -> tuple[bool, str]:
    """Make one result again: whether its bytes are the same, and a sentence about it."""
    from jaxsr.batch.replay import check_model, find_record, locate, make_again, verdict

    found = find_record(path)
    request = locate(found, args.input)
    name = args.model or request.model
    if name not in models:
        models[name] = _load(name, found, accept_license=args.accept_license)
    upscaler = models[name]
    check_model(found, upscaler)
    target = args.output or (found.result if not found.result.exists() else None)
    settings = {"progress": progress, "accept_license": args.accept_license}
    if target is not None:
        equal, sentence = verdict(found, target, make_again(upscaler, request, target, **settings))
        return equal, f"{sentence}; written: {target}"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, f"{found.result.stem}.{request.format}")
        return verdict(found, target, make_again(upscaler, request, target, **settings))


def _load(name: str, found: "FoundRecord", *, accept_license: bool) -> "Upscaler":
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.runtime.lowered import keep_lowered
    from jaxsr.upscaling.loading import load

    keep_lowered()
    upscaler = load(name, accept_license=accept_license)
    enable_compilation_cache(upscaler.preset.network.model_channels, found.request.options.precision)
    return upscaler
