"""Test the structure of the house: which room may import which, no import cycles, and no class name in two rooms."""

import ast
import re
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENTRIES = ("__main__", "sample", "calibrate", "evaluate", "study", "train", "export")
# Each room may import itself and the rooms that it names. A room names only rooms that stand above it in this table.
ROOMS = {
    "version": "",
    "errors": "",
    "choices": "",
    "plain_data": "",
    "storage": "",
    "diffusion": "choices",
    "options": "choices diffusion",
    "imaging": "choices errors storage",
    "runtime": "imaging plain_data storage",
    "hub": "errors plain_data storage",
    "torch_files": "hub plain_data",
    "data": "errors imaging storage",
    "models": "diffusion imaging plain_data runtime",
    "metrics": "hub imaging models storage torch_files",
    "guidance": "choices diffusion imaging metrics options plain_data storage version",
    "weight_conversion": "diffusion hub imaging models plain_data storage torch_files version",
    "upscaling": "choices diffusion errors guidance hub imaging models options runtime storage weight_conversion",
    "public names": "hub models options upscaling version",
    "batch": "choices errors guidance hub imaging metrics options plain_data runtime storage upscaling version",
    "training": "data diffusion hub imaging metrics models plain_data runtime storage",
    "calibration": "choices data diffusion errors guidance imaging metrics models options runtime storage upscaling",
    "numerics": (
        "choices data diffusion errors guidance imaging metrics models options plain_data runtime storage "
        "upscaling version"
    ),
    "evaluation": "choices data errors guidance imaging metrics options plain_data runtime storage upscaling version",
    "studio": "batch choices errors guidance hub imaging options plain_data runtime storage upscaling version",
    "cli": (
        "batch calibration choices data diffusion errors evaluation guidance hub imaging metrics models numerics "
        "options runtime storage studio training upscaling version"
    ),
    "entries": "cli weight_conversion",
}


def room_of(module: str) -> str:
    """Return the room of a module, by its dotted name."""
    package, *rest = module.split(".")
    if rest and (rest[0] in ENTRIES or rest[-1] == "__main__"):
        return "entries"
    if package == "weight_conversion":
        return package
    return rest[0] if rest else "public names"


def modules() -> dict[str, Path]:
    """Return every module of both packages, by its dotted name."""
    files = [file for package in ("jaxsr", "weight_conversion") for file in (ROOT / package).rglob("*.py")]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return dict(zip(names, files, strict=True))


MODULES = modules()


def imports_of(source: str, known: dict[str, Path]) -> set[str]:
    """List the modules of the house that a source imports anywhere, inside functions and for types as well.

    Raises ValueError for a relative import, which this reading would miss.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.level or not node.module):
            raise ValueError(f"line {node.lineno}: write the import with the whole name of the module")
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in whole}
    return {name for name in found if name.split(".")[0] in ("jaxsr", "weight_conversion")}


IMPORTS = {name: imports_of(file.read_text(encoding="utf-8"), MODULES) for name, file in MODULES.items()}


def test_a_room_names_only_rooms_below_it() -> None:
    below: set[str] = set()
    for room, may in ROOMS.items():
        assert set(may.split()) <= below, room
        below.add(room)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module) -> None:
    room = room_of(module)
    assert room in ROOMS, f"{module} is in a room that the table does not know"
    allowed = {room, *ROOMS[room].split()}
    wrong = [name for name in IMPORTS[module] if room_of(name) not in allowed]
    assert not wrong, f"{module} imports {', '.join(wrong)}: use a room that {room} may import, or change the table"


def test_every_import_that_the_table_allows_exists() -> None:
    used = defaultdict(set)
    for module, names in IMPORTS.items():
        used[room_of(module)] |= {room_of(name) for name in names} - {room_of(module)}
    unused = {room: sorted(set(may.split()) - used[room]) for room, may in ROOMS.items()}
    assert {room: names for room, names in unused.items() if names} == {}


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError


def test_a_circle_and_a_hidden_import_are_found() -> None:
    known = {"jaxsr.a": Path(), "jaxsr.b": Path()}
    assert imports_of("def f():\n    from jaxsr import a\n    import jaxsr.b", known) == {"jaxsr.a", "jaxsr.b"}
    with pytest.raises(ValueError, match="line 2: write the import with the whole name"):
        imports_of("import ast\nfrom .b import c", known)
    with pytest.raises(ValueError, match="cycle"):
        TopologicalSorter({"jaxsr.a": {"jaxsr.b"}, "jaxsr.b": {"jaxsr.a"}}).prepare()


def rooms_on_the_map() -> list[str]:
    """List the rooms in the order of CONTRIBUTING's map, by the names of the table above."""
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    places = [found[1] for line in lines if (found := re.match(r"\| `(jaxsr/[\w./]+|weight_conversion)`", line))]
    names = [Path(place).with_suffix("").name for place in places]
    return [{"__init__": "public names", "sample": "entries"}.get(name, name) for name in names]


def test_the_map_for_contributors_shows_the_rooms_of_the_table() -> None:
    assert rooms_on_the_map() == list(ROOMS)


def test_argparse_ends_at_the_commands() -> None:
    users = {name for name, file in MODULES.items() if "argparse" in file.read_text(encoding="utf-8")}
    assert {room_of(name) for name in users - {"weight_conversion.__main__"}} == {"cli"}


def test_no_two_rooms_have_a_class_of_one_name() -> None:
    rooms = defaultdict(set)
    for name, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                rooms[node.name].add(room_of(name))
    assert {name: sorted(places) for name, places in rooms.items() if len(places) > 1} == {}


def test_no_test_file_is_longer_than_300_lines() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in (ROOT / "tests").rglob("*.py")}
    assert {file.name: length for file, length in lengths.items() if length > 300} == {}
