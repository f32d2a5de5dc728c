"""Build the API reference from the docstrings: python docs/build_api.py -o site/

Every warning is an error, on one line that names the place. The causes are: a name of the house in backticks that does
not exist, a module that cannot be imported, a room without a docstring or a place on the map, and any warning of pdoc.
"""

import argparse
import ast
import importlib.util
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pdoc
from as_written import Source, link_by_last_part, show_as_written
from pdoc.doc import Module

PACKAGES = ("jaxsr", "weight_conversion")
# The map on the front page, from the ground up; the sentence of a room is the first paragraph of its docstring.
ROOMS = (
    *("version", "errors", "choices", "plain_data", "storage", "diffusion", "options", "imaging", "runtime", "hub"),
    *(
        "torch_files",
        "data",
        "models",
        "metrics",
        "guidance",
        "weight_conversion",
        "upscaling",
        "batch",
        "training",
        "calibration",
    ),
    *("numerics", "evaluation", "studio", "cli"),
)


def find_files(packages: tuple[str, ...]) -> dict[str, Path]:
    """Find the files of all modules, by dotted name. A `__main__` is left out, because it runs when it is imported."""
    found = {}
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit(f"error: there is no package {package}")
        folder = Path(spec.origin).parent
        for file in folder.rglob("*.py"):
            parts = (package, *file.relative_to(folder).with_suffix("").parts)
            if parts[-1] != "__main__":
                found[".".join(parts).removesuffix(".__init__")] = file
    return dict(sorted(found.items()))


def load(files: dict[str, Path], problems: list[str]) -> dict[str, Module]:
    """Import all modules. One that cannot be imported is left out, and becomes a problem."""
    modules = {}
    for name, file in files.items():
        try:
            with reporting(problems, file, files):
                modules[name] = Module.from_name(name)
        except RuntimeError as error:  # pdoc raises it for any cause
            cause = error.__cause__ or error
            problems.append(f"{file}: {name} cannot be imported: {type(cause).__name__}: {cause}")
    for name, module in modules.items():
        module.submodules = [other for key, other in modules.items() if key.rpartition(".")[0] == name]
        # The public names of jaxsr are imported when they are first used, and pdoc does not use them.
        public = [key for key in getattr(module.obj, "__all__", ()) if hasattr(module.obj, key)]
        vars(module.obj).update({key: getattr(module.obj, key) for key in public})
    return modules


@contextmanager
def reporting(problems: list[str], place: Path, files: dict[str, Path]) -> Iterator[None]:
    """Add the warnings of pdoc and of the house to the problems.

    Warnings of other libraries do not concern the reference.
    """
    ours = (str(Path(pdoc.__file__).parent), *map(str, files.values()))
    with warnings.catch_warnings(record=True) as caught:
        # Annotations are shown as in the source, so it does not matter whether pdoc can parse their values.
        warnings.filterwarnings("ignore", "Error parsing type annotation")
        yield
    problems += [f"{place}: {one.category.__name__}: {one.message}" for one in caught if one.filename.startswith(ours)]


def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or something in a module, down to the fields of a class."""
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        owner, _, last = name.rpartition(".")
        return "." in owner and exists(owner) and last in getattr(pkgutil.resolve_name(owner), "__annotations__", {})
    return True


def broken_references(file: Path, packages: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for every name of the house in backticks in a docstring that does not exist."""
    house = re.compile(rf"(?<![\w./])(?:{'|'.join(packages)})(?:\.\w+)+")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                for quoted in re.finditer(r"`([^`]+)`", text):
                    for name in house.finditer(quoted[1]):
                        line = node.lineno + text[: quoted.start(1) + name.start()].count("\n")
                        if not exists(name[0]):
                            yield f"{file}:{line}: `{name[0]}` does not exist"


def front_page(modules: dict[str, Module], files: dict[str, Path], problems: list[str]) -> str:
    """Render the map of the rooms, and the commands: the modules directly in jaxsr that have a `main`."""
    names = [name if name in PACKAGES else f"jaxsr.{name}" for name in ROOMS]
    problems += [f"{__file__}: the map has a room that does not exist: {name}" for name in names if name not in files]
    rooms = [modules[name] for name in names if name in modules]
    problems += [f"{files[room.fullname]}: needs a docstring" for room in rooms if room.docstring in ("", "TODO")]
    others = [module for module in modules["jaxsr"].submodules if module not in rooms]
    lost = [module.fullname for module in others if not hasattr(module.obj, "main")]
    problems += [f"{files[name]}: the room is not on the map: add it to ROOMS in {__file__}" for name in lost]
    page = pdoc.render.env.get_template("index.html.jinja2")
    return page.render(all_modules=modules, module=modules["jaxsr"], rooms=rooms, commands=others)


def build(output: Path, packages: tuple[str, ...]) -> list[str]:
    """Write the pages. Returns the problems, one line each."""
    files, problems = find_files(packages), []
    modules = load(files, problems)
    for file in files.values():
        problems += broken_references(file, packages)
    sources = {name: Source(name, files[name], packages) for name in modules}
    pdoc.render.configure(docformat="google", show_source=False, template_directory=Path(__file__).parent / "api")
    link_by_last_part()
    for name, module in modules.items():
        with reporting(problems, files[name], files):
            show_as_written(module, sources)
    for name, module in modules.items():
        page = output / f"{name.replace('.', '/')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with reporting(problems, files[name], files):
            page.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")
    if "jaxsr" in modules:
        (output / "index.html").write_text(front_page(modules, files, problems), encoding="utf-8")
    (output / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")
    return [" ".join(line.split()).replace(f"{Path.cwd()}/", "") for line in problems]


def main() -> int:
    """Build the reference. Returns exit code 0 if it has no problem, otherwise 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the pages")
    parser.add_argument("packages", nargs="*", default=PACKAGES, help=f"packages (default: {' '.join(PACKAGES)})")
    args = parser.parse_args()
    problems = build(args.output, tuple(args.packages))
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
