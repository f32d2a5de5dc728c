"""Test that the API reference is built whole, that its front page maps the rooms, and that faults in it are errors."""

import ast
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxsr.diffusion import sampler
from tests import test_house

ROOT = Path(__file__).parents[1]
ROOMS = [room for room in test_house.ROOMS if room not in ("public names", "entries")]


def build(output: Path, *packages: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "docs" / "build_api.py", "-o", output, *packages]
    env = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=path, env=env)


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


def words_of(docstring: str | None) -> str:
    return " ".join((docstring or "").replace("`", "").replace("Args:", "Arguments:").split())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("site")
    run = build(output)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    return output


def test_the_front_page_is_the_map_of_the_rooms(site):
    page = (site / "index.html").read_text(encoding="utf-8")
    rooms = re.findall(r'<li id="(\w+)">\s*<a href="([\w/.]+)">.*?<div class="sentence">(.*?)</div>', page, re.S)
    assert [room for room, _, _ in rooms] == ROOMS
    for _, link, sentence in rooms:
        assert (site / link).is_file()
        name = link.removesuffix(".html")
        file = ROOT / name / "__init__.py" if (ROOT / name).is_dir() else ROOT / f"{name}.py"
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        assert text_of(sentence) == words_of(docstring.split("\n\n")[0])
        assert text_of(sentence) not in ("", "TODO")


def test_a_page_has_docstrings_and_signatures_as_they_are_written(site):
    page = (site / "jaxsr/diffusion/sampler.html").read_text(encoding="utf-8")
    section = text_of(page.split('<section id="sample">')[1].split("</section>")[0])
    assert words_of(sampler.sample.__doc__) in section
    assert 'z_lr: Latent, noise: Noise, *, sampler: str = "ancestral", guidance: Sequence[Guidance] = ()' in section
    assert '<a href="process.html#Latent">Latent</a>' in page
    process = (site / "jaxsr/diffusion/process.html").read_text(encoding="utf-8")
    assert 'Latent = Float[Array, "*b h w c"]' in text_of(process)


def test_the_public_names_are_on_the_page_of_jaxsr(site):
    page = (site / "jaxsr.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in ("Options", "Problem", "Upscaler", "Upscaler.upscale", "load"))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""Fine: `made_up.room.f`, `made_up.room.Box.side`, `made_up/room.py`."""', ""),
        ('"""First.\n\nSee `made_up.nowhere`.\n"""', "made_up/room.py:3: `made_up.nowhere` does not exist"),
        ('"""Call `f(made_up.room.g)`."""', "made_up/room.py:1: `made_up.room.g` does not exist"),
        ('"""See `made_up.room.Box.top`."""', "made_up/room.py:1: `made_up.room.Box.top` does not exist"),
        ("import nowhere", "made_up/room.py: made_up.room cannot be imported: ModuleNotFoundError: No module named"),
        ('__all__ = ["g"]', "made_up/room.py: UserWarning: Found 'g' in made_up.room.__all__, but it does not"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_place(tmp_path, source, line):
    package = tmp_path / "made_up"
    package.mkdir()
    (package / "__init__.py").write_text('"""A made-up package."""\n')
    (package / "room.py").write_text(f"{source}\n\n\nclass Box:\n    side: int\n\n\ndef f() -> None: ...\n")
    run = build(tmp_path / "site", "made_up", path=tmp_path)
    assert run.returncode == bool(line)
    assert run.stderr.startswith(f"error: {line}" if line else "")
    assert run.stderr.count("\n") == bool(line)
