"""Test that the site is built from the documents as they are, and that broken links in them are errors."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("myst_parser", reason="the site needs  pip install '.[docs]'")
ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/jaxsr/jaxsr"


def build(builder: str, folder: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Build the site; the builder `dummy` reads all pages and resolves their links, but writes none."""
    words = ["-W", "--keep-going", "-q", "-b", builder, "-d", output.with_name("trees"), folder, output]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, check=False, env=env
    )


@pytest.fixture
def clone(tmp_path) -> Path:
    """Return a folder like the repository with a few pages."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / "docs" / "conf.py").write_bytes((ROOT / "docs" / "conf.py").read_bytes())
    (tmp_path / "docs" / "static").mkdir()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "README.md").touch()
    (tmp_path / "README.md").write_text("# Top\n\n[A page](docs/page.md#the-part), [numbers](benchmarks/README.md)\n")
    (tmp_path / "docs" / "index.md").write_text("# Contents\n\n## Read\n\n- [The page](page.md)\n")
    (tmp_path / "docs" / "page.md").write_text("# Page\n\n## The part\n\n[Up](../README.md), [all](../benchmarks)\n")
    return tmp_path


def test_the_pages_have_no_broken_links(tmp_path):
    run = build("dummy", ROOT / "docs", tmp_path / "site")
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[fine](page.md#the-part) `[no](link)`\n\n```\n[no](link.md)\n```\n", ""),
        ("[gone](nowhere.md)", "a link leads to nowhere.md, which does not exist"),
        ("[gone](../benchmarks/gone.json)", "a link leads to ../benchmarks/gone.json, which does not exist"),
        ("[outside](../../README.md)", "a link leads to ../../README.md, which does not exist"),
        ("[no part](page.md#no-part)", "local id not found in doc 'page': 'no-part'"),
        ("![no picture](images/gone.png)", "a link leads to images/gone.png, which does not exist"),
    ],
)
def test_a_broken_link_is_an_error(clone, text, warning):
    with (clone / "docs" / "page.md").open("a") as file:
        file.write(f"\n{text}\n")
    run = build("dummy", clone / "docs", clone / "site")
    assert run.returncode == bool(warning)
    assert warning in run.stderr if warning else run.stderr == ""


def test_a_page_that_the_contents_lack_is_an_error(clone):
    (clone / "docs" / "lost.md").write_text("# Lost\n")
    run = build("dummy", clone / "docs", clone / "site")
    assert run.returncode == 1
    assert "lost.md: WARNING: document isn't included in any toctree" in run.stderr


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(tmp_path):
    site = tmp_path / "site"
    run = build("html", ROOT / "docs", site)
    assert (run.returncode, run.stderr) == (0, "")
    front = (site / "index.html").read_text(encoding="utf-8")
    assert "jaxsr enlarges photographs by a factor of four" in front
    assert f'href="{REPOSITORY}/blob/main/CONTRIBUTING.md"' in front
    assert {"guidance.html", "faq.html", "gallery.html", "reference.html", "findings.html"} <= set(
        re.findall(r'class="reference internal" href="([\w.]+)"', front)
    )
    pages, checked = [*site.glob("*.html"), site / "reference" / "index.html"], 0
    for page in pages:
        text = re.sub(r"<script>.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.S)
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            if link.startswith((f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/")):
                target = ROOT / urlsplit(link).path.split("/main/")[1]
            elif urlsplit(link).scheme or not urlsplit(link).path:
                continue
            else:
                target = page.parent / unquote(urlsplit(link).path)
            assert target.exists(), f"{page.name}: {link}"
            checked += 1
    assert checked > 500
