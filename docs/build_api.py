"""The API reference, from the docstrings:  python docs/build_api.py -o site/

A warning is an error, and has one line that names the place: a name of the house in backticks that does not exist, a
module that cannot be imported, a room without a sentence or a place on the map, and whatever pdoc warns of.
"""

import argparse
import ast
import importlib.util
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pdoc
from as_written import show_as_written
from pdoc.doc import Module

PACKAGES = ("jaxsr", "weight_conversion")
# The map on the front page, from the ground up; the sentence of each room is the first paragraph of its docstring.
ROOMS = (
    *("choices", "storage", "errors", "version", "diffusion", "options", "imaging", "runtime", "hub", "torch_files"),
    *("data", "models", "metrics", "guidance", "weight_conversion", "upscaling", "batch", "training", "calibration"),
    *("numerics", "evaluation", "cli"),
)


def find_sources(packages: tuple[str, ...]) -> dict[str, Path]:
    """The files of all modules, by dotted name; a `__main__` runs when it is imported, and is left out."""
    found = {}
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"there is no package {package}")
        (folder,) = map(Path, spec.submodule_search_locations)
        for file in sorted(folder.rglob("*.py")):
            parts = (package, *file.relative_to(folder).with_suffix("").parts)
            if parts[-1] != "__main__":
                found[".".join(parts).removesuffix(".__init__")] = file
    return dict(sorted(found.items()))


def load(sources: dict[str, Path], problems: list[str]) -> dict[str, Module]:
    """All modules that can be imported."""
    modules = {}
    for name, file in sources.items():
        try:
            modules[name] = Module.from_name(name)
        except RuntimeError as error:  # pdoc's, whatever the cause
            cause = error.__cause__ or error
            problems.append(f"{file}: {name} cannot be imported: {type(cause).__name__}: {cause}")
    for name, module in modules.items():
        module.submodules = [other for key, other in modules.items() if key.rpartition(".")[0] == name]
        public = getattr(module.obj, "__all__", ())  # jaxsr's are imported when they are first used: use them
        vars(module.obj).update({key: getattr(module.obj, key) for key in public})
    return modules


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or what one holds, down to the fields of a class."""
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        owner, _, last = name.rpartition(".")
        try:
            return last in getattr(pkgutil.resolve_name(owner), "__annotations__", {})
        except (AttributeError, ImportError, ValueError):
            return False
    return True


def broken_references(file: Path, packages: tuple[str, ...]) -> Iterator[str]:
    """A line for every name of the house that stands in backticks in a docstring and does not exist."""
    house = re.compile(rf"(?<![\w./])(?:{'|'.join(packages)})(?:\.\w+)+")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        text = str(node.value.value)
        for quoted in re.finditer(r"`([^`]+)`", text):
            for match in house.finditer(quoted[1]):
                if not exists(match[0]):
                    line = node.lineno + text[: quoted.start() + 1 + match.start()].count("\n")
                    yield f"{file}:{line}: `{match[0]}` does not exist"


def render(module: Module, modules: dict[str, Module], output: Path) -> None:
    """One page."""
    page = output / f"{module.fullname.replace('.', '/')}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")


def front_page(modules: dict[str, Module], sources: dict[str, Path], problems: list[str]) -> str:
    """The map of the rooms, and the commands: what is directly in jaxsr without being a room."""
    names = [name if name in PACKAGES else f"jaxsr.{name}" for name in ROOMS]
    rooms = [modules[name] for name in names if name in modules]
    problems += [f"{__file__}: the map has a room that does not exist: {name}" for name in names if name not in modules]
    for room in rooms:
        if room.docstring in ("", "TODO"):
            problems.append(f"{sources[room.fullname]}: the room has no sentence; write a docstring")
    others = [module for module in modules["jaxsr"].submodules if module not in rooms]
    for module in others:
        if module.is_package:
            problems.append(f"{sources[module.fullname]}: the room is not on the map; add it to ROOMS in {__file__}")
    index = pdoc.render.env.get_template("index.html.jinja2")
    return index.render(all_modules=modules, module=modules["jaxsr"], rooms=rooms, commands=others)


def build(output: Path, packages: tuple[str, ...]) -> list[str]:
    """Write the pages; returns what is wrong, a line each."""
    sources = find_sources(packages)
    problems: list[str] = []
    modules = load(sources, problems)
    problems += [line for file in sources.values() for line in broken_references(file, packages)]
    # Annotations are shown as the source has them, so what pdoc makes of their values does not matter.
    warnings.filterwarnings("ignore", "Error parsing type annotation")
    pdoc.render.configure(docformat="google", show_source=False, template_directory=Path(__file__).parent / "api")
    show_as_written(modules, sources)
    output.mkdir(parents=True, exist_ok=True)
    for module in modules.values():
        with warnings.catch_warnings(record=True) as caught:
            render(module, modules, output)
        problems += [f"{sources[module.fullname]}: pdoc warns: {one.message}" for one in caught]
    if "jaxsr" in modules:
        (output / "index.html").write_text(front_page(modules, sources, problems), encoding="utf-8")
    (output / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")
    return [re.sub(r"\s+", " ", line).replace(f"{Path.cwd()}/", "") for line in problems]


def main(argv: list[str] | None = None) -> int:
    """Exit code 0 if the reference is whole, 1 if something is wrong with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the pages")
    parser.add_argument("packages", nargs="*", default=PACKAGES, help=f"default: {' '.join(PACKAGES)}")
    args = parser.parse_args(argv)
    output, problems = args.output, build(args.output, tuple(args.packages))
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    print(f"{output / 'index.html'}: {len(problems)} errors" if problems else f"{output / 'index.html'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
