"""Test that the files agree on versions, addresses and licences, and that the file check finds what it looks for."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jaxsr.hub.cards import known_models

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, BUILD = SETTINGS["project"], SETTINGS["tool"]["hatch"]
# (owner/name, file or folder) of an address of this repository
REPOSITORY_LINK = re.compile(r"https://github\.com/([\w-]+/jaxsr)(?:/(?:blob|tree|raw)/main/([\w./-]+))?")
COLAB = PROJECT["urls"]["Repository"].replace("github.com", "colab.research.google.com/github") + "/blob/main/"


def texts() -> list[Path]:
    """Return the files of the project that may name its repository."""
    patterns = ("*.toml", "*.cff", "*.md", "docs/*.md", "docs/*.py", "*/README.md", "notebooks/*.py", "tests/test_*.py")
    return [path for pattern in patterns for path in ROOT.glob(pattern)]


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.M) == [PROJECT["version"]]
    (released,) = re.findall(r"^date-released: (.+)$", citation, re.M)
    changes = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert changes[:2] == [("Unreleased", ""), (PROJECT["version"], f" - {released}")]


def test_every_address_of_the_repository_is_the_same_and_leads_to_a_file():
    repository = PROJECT["urls"]["Repository"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r'^(?:url|repository-code): "(.+)"$', citation, re.M) == [repository, repository]
    found = {(path, *link) for path in texts() for link in REPOSITORY_LINK.findall(path.read_text(encoding="utf-8"))}
    assert {path.name for path, _, _ in found} >= {"pyproject.toml", "CITATION.cff", "CHANGELOG.md"}
    assert {f"https://github.com/{name}" for _, name, _ in found} == {repository}
    files = {target for _, _, target in found if target}
    assert files >= {"CHANGELOG.md", "docs/index.md"}
    assert [target for target in files if not (ROOT / target).exists()] == []


def test_the_readme_of_a_package_index_has_absolute_links_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for one in BUILD["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 15
    prefix = re.escape(PROJECT["urls"]["Repository"])
    targets = [re.fullmatch(rf"{prefix}/(blob|raw)/main/([^#]+)(#.+)?", link) for link in links]
    elsewhere = {link for link, match in zip(links, targets, strict=True) if match is None}
    assert elsewhere == {COLAB + "notebooks/00_quickstart.ipynb"}
    found = [(match[1], ROOT / match[2]) for match in targets if match]
    assert all(path.exists() for _, path in found)
    assert all((way == "raw") == (path.suffix in (".png", ".jpg")) for way, path in found)


@pytest.mark.parametrize("card", known_models(), ids=lambda card: card.name)
def test_the_licence_table_agrees_with_the_registry(card):
    rows = (ROOT / "docs" / "licences.md").read_text().splitlines()
    (row,) = (row for row in rows if row.startswith("| Weights") and f"`{card.name}`" in row)
    _, where, licence, commercial = row.strip("| ").split(" | ")
    assert licence == f"[{card.licence.name}]({card.licence.url})"
    assert commercial.startswith("**no**" if card.licence.noncommercial else "yes")
    assert where.startswith("in the wheel" if card.bundled else "never here")


def test_the_slow_suite_of_ci_has_the_packages_that_its_tests_would_skip_without():
    (install,) = re.findall(
        r"- run: (python -m pip install --upgrade .*)", (ROOT / ".github/workflows/ci.yml").read_text()
    )
    extras = {name for group in re.findall(r"\.\[([\w,]+)\]", install) for name in group.split(",")}
    assert extras == {"dev", "data", "notebooks"} <= PROJECT["optional-dependencies"].keys()
    assert "ray[data]" in install
    assert "playwright" in install
    assert set(re.findall(r"importorskip\(\"(\w+)", (ROOT / "tests/test_clusters.py").read_text())) == {"ray", "yaml"}


def check_files(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / ".ci" / "check_files.py", *paths]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", ["root/x", "work/x", "home/ann/x", "Users/ann/x"])
def test_a_path_of_one_machine_is_found(tmp_path, path):
    file = tmp_path / "notes.md"
    file.write_text(f"first\nsee '/{path}'\n")
    run = check_files(file)
    assert run.returncode == 1
    assert f"notes.md:2: a path of one machine: see '/{path}'" in run.stdout


def test_examples_addresses_and_relative_paths_are_no_paths_of_one_machine(tmp_path):
    file = tmp_path / "notes.md"
    file.write_text("/home/me/photos ../work/x https://example.org/home/ann runs/root/x ~/work/x")
    assert check_files(file).returncode == 0


def test_a_large_file_is_found(tmp_path):
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    small.write_bytes(bytes(4_000_000))
    large.write_bytes(bytes(4_000_001))
    assert check_files(small).returncode == 0
    run = check_files(small, large)
    assert run.returncode == 1
    assert run.stdout == f"{large}: 4000001 bytes, the limit is 4000000\n"


def test_a_long_line_of_prose_in_markdown_is_found(tmp_path):
    long = "words " * 20 + "words"
    link = f"- [a link of words](https://example.org/{'x' * 120})."
    text = f"{'x ' * 60}\n{long}\n````\n{long}\n```\n{long}\n````\n| {long} |\n{link}\nSee {link}\n"
    for name in ("notes.md", "notes.py"):
        (tmp_path / name).write_text(text)
    run = check_files(tmp_path / "notes.md", tmp_path / "notes.py")
    assert run.returncode == 1
    assert run.stdout.splitlines() == [
        f"{tmp_path / 'notes.md'}:{number}: a line of {length} characters, the limit is 120: wrap it"
        for number, length in ((2, 125), (10, len(link) + 4))
    ]
