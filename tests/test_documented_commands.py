"""Test that every command in the documents names a module that exists and options that it has."""

import re
from pathlib import Path

import pytest

from jaxsr.cli.commands import SUBCOMMANDS
from tests.cli.parsers import all_parsers

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "*/README.md", "*/results/*.md", "jaxsr/assets/*/README.md")
COMMAND = re.compile(r"python3? -m ((?:jaxsr|benchmarks|weight_conversion|tests)[a-z_.]*)(?![.A-Z])(.*)", re.S)
SCRIPT = re.compile(r"[\s(]*(?:\S*/)?(?:python3? -m )?jaxsr ([a-z][a-z-]*)(.*)", re.S)
MODULES = {one.name: one.module for one in SUBCOMMANDS}
# The options of each parser, by the words that start it after `jaxsr`.
OPTIONS = {
    re.sub(r"^.*?jaxsr[. ](cli[.])?", "", parser.prog).replace("_", "-"): {
        flag for action in parser._actions for flag in action.option_strings
    }
    for parser in all_parsers()
}
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
_SHARED = ("jaxsr/cli/*.py", "benchmarks/harness.py", "benchmarks/rival.py")


def source_of(module: str) -> Path | None:
    """Return the file that a module's command is in."""
    module = MODULES.get(module.removeprefix("jaxsr "), module)
    place = ROOT / module.removesuffix(".__main__").replace(".", "/")
    return next((path for path in (place.with_suffix(".py"), place / "__main__.py") if path.is_file()), None)


def options_of(module: str) -> set[str]:
    """Return every option that the source of a command, or what it shares with others, names."""
    source = source_of(module)
    assert source is not None
    shared = [path for pattern in _SHARED for path in ROOT.glob(pattern)] if module.startswith("jaxsr") else []
    helpers = [
        path for name in re.findall(r"from (benchmarks[\w.]*) import", source.read_text()) if (path := source_of(name))
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in (source, *shared, *helpers))
    return {"--help", *re.findall(r"\"(--[\w-]+)\"", text)}


def long_options(words: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", words))


def parser_of(module: str, words: str) -> set[str]:
    """Return the options of the parser of one of our commands; none for a module without such a parser."""
    name = re.sub(r"^jaxsr[. ](cli[.])?", "", module).replace("_", "-")
    return OPTIONS.get(f"{name} {' '.join(words.split()[:1])}") or OPTIONS.get(name, set())


def commands() -> list[tuple[str, str, str]]:
    """Return (page, module, words) of every command in the documents and at the top of the benchmarks."""
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    pages += sorted((ROOT / "benchmarks").rglob("*.py"))
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".py":
            text = text.split('"""')[1] if '"""' in text else ""
            lines = [block.replace("\\\n", " ") for block in re.findall(r"^    (python.*(?:\\\n.*)*)", text, re.M)]
        else:
            lines = [line for block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
        pieces = [piece for line in lines for piece in re.split(r"&&|;|\|", line.partition("  #")[0])]
        pieces += re.findall(r"`((?:python|jaxsr )[^`]*)`", FENCED.sub("", text))
        name = str(page.relative_to(ROOT))
        for piece in pieces:
            if match := SCRIPT.match(piece):
                found.append((name, f"jaxsr {match[1]}", match[2]))
            elif match := COMMAND.search(piece):
                found.append((name, *match.groups()))
    return found


@pytest.mark.parametrize(("page", "module", "words"), commands())
def test_a_command_of_the_documents_exists_with_its_options(page, module, words):
    assert source_of(module) is not None, f"{page}: there is no {module}"
    if module.startswith("tests"):
        return
    given = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", words)) if parser_of(module, words) else long_options(words)
    there = parser_of(module, words) or options_of(module)
    assert given <= there, f"{page}: {module} has no {', '.join(sorted(given - there))}"


def test_there_are_commands_of_all_kinds():
    modules = {module for _, module, _ in commands()}
    assert {
        "jaxsr sample",
        "jaxsr replay",
        "jaxsr.sample",
        "jaxsr.calibrate",
        "jaxsr.evaluate",
        "benchmarks.photo",
        "weight_conversion",
    } <= modules
    assert "--most-steps" not in options_of("benchmarks.photo")
    assert "--steps" in options_of("benchmarks.photo")
    assert "--counts" in parser_of("jaxsr study", " -n tiny-x4")
    assert "--counts" not in parser_of("jaxsr.sample", " photo.jpg")
    assert "--dataset" not in parser_of("jaxsr.evaluate", " table a.json")
    assert "--port" in parser_of("jaxsr.studio", "")


def test_pages_that_are_tried_in_one_folder_do_not_write_the_same_file():
    """Nobody starts each page in a folder of its own, and a command does not replace the result of another one."""
    writers: dict[str, dict[str, str]] = {}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in FENCED.findall(path.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.partition("  #")[0].split()
                if "-o" in words:
                    name = words[words.index("-o") + 1]
                    sampled = {"sample", "jaxsr.sample"} & {*words}
                    if not (sampled and name.endswith("/")):  # one name per input
                        writers.setdefault(name, {})[" ".join(words) if sampled else path.name] = path.name
    shared = {name: found for name, found in writers.items() if len({*found.values()}) > 1 and len(found) > 1}
    assert not shared


def test_no_text_installs_the_project_that_has_our_name_on_pypi():
    pages = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    texts = {path: path.read_text(encoding="utf-8") for path in (*pages, *(ROOT / "jaxsr").rglob("*.py"))}
    wrong = re.compile(r"pip install (?:-\S+ )*'?jaxsr\b")
    assert wrong.search("pip install -q 'jaxsr[studio]'")
    assert not [path for path, text in texts.items() if wrong.search(text)]
