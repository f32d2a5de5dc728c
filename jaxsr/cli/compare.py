"""Compare pictures on one HTML page: jaxsr compare plain.png vivid.png -o page.html"""

import argparse
from pathlib import Path

from jaxsr.cli.exits import exit_code, one_line, say
from jaxsr.cli.parser import NAMES, ListOf, Parser, program

LARGE = 10**8
"""Bytes of a page from which browsers become slow."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    parser = Parser(prog=program("compare"), description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("pictures", type=Path, nargs="+", metavar="IMAGE", help="two or more pictures of one scene, of any sizes")
    add("-o", "--output", type=Path, required=True, metavar="HTML", help="file to write; it needs no other file")
    add("-r", "--reference", type=Path, metavar="IMAGE", help="the original, for scores against it")
    text = "names of the pictures on the page, separated by commas (default: their files')"
    add("--labels", type=ListOf(str, between=",", looks=NAMES, what="names"), metavar="LIST", help=text)
    text = "metrics to show, or none (default: niqe, with a reference psnr,ssim,lpips,niqe)"
    add("-m", "--metrics", type=ListOf(str, looks=NAMES), metavar="LIST", help=text)
    add("--title", default="Comparison", help="heading of the page (default: Comparison)")
    add("--overwrite", action="store_true", help="replace the page if it exists")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if the page is written, 1 after one sentence on an error."""
    parser = make_parser()
    args = parser.parse_args(argv)
    count = len(args.pictures) + (args.reference is not None)
    if count < 2:
        parser.error("give at least two pictures, or one and --reference")
    if args.labels and len(args.labels) != len(args.pictures):
        parser.error(f"argument --labels: needs {len(args.pictures)} names, one for each picture")
    return exit_code(lambda: _compare(args))


def _compare(args: argparse.Namespace) -> int:
    from jaxsr.batch.jobs import check_new_file
    from jaxsr.evaluation import page
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.runtime.progress import image_bar
    from jaxsr.storage import write_whole

    check_new_file("--output", args.output, overwrite=args.overwrite)
    unscored = args.metrics == ("none",)
    metrics = () if unscored else page.check_names(args.metrics, reference=args.reference is not None)
    names = args.labels or distinct_names(args.pictures)
    enable_compilation_cache()
    with image_bar(len(args.pictures)) as report:
        pictures = [page.show_picture(path, name) for path, name in zip(args.pictures, names, strict=True)]
        reference = page.show_picture(args.reference, page.REFERENCE) if args.reference else None
        shown = [*pictures, reference] if reference else pictures
        page.check_shapes(shown)
        rows, notes = [], []
        for number, picture in enumerate(pictures if metrics else ()):
            report(number, one_line(picture.name), 0, 0)
            found, said = page.score_pictures([picture], metrics, reference)
            rows, notes = rows + found, notes + [note for note in said if note not in notes]
    text = page.make_page(shown, title=args.title, metrics=metrics, rows=rows, notes=notes)
    write_whole(args.output, text)
    size = args.output.stat().st_size
    say(f"written: {args.output}, {len(shown)} pictures, {size / 1e6:.1f} MB")
    if size > LARGE:
        say("note: a page of this size is slow in a browser; compare crops, or pictures as JPEG", wrong=True)
    return 0


def distinct_names(paths: list[Path]) -> list[str]:
    """Name pictures by their files, and by as many of their folders as tell them apart."""
    depth, most = 1, max(len(path.parts) for path in paths)
    while depth < most and len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]
