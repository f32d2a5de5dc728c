"""The site of the documentation: python -m sphinx -W --keep-going -b html docs site

Its pages are docs/*.md as they are. They are plain Markdown, which code hosts show too. There, links may lead out of
`docs/`, to a benchmark or a notebook; on the site, they lead to the repository. README.md becomes the first page,
docs/index.md the table of contents, and docs/build_api.py makes the API reference. `-W` makes a broken link an error.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY, BRANCH = PROJECT["urls"]["Repository"], "main"
REFERENCE = "reference"  # the page about the API, and the folder of its pages
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.M | re.S)
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
SECTION = re.compile(r"^## (.+)\n\n((?:- \[.+\n)+)", re.M)

project, author, release = PROJECT["name"], PROJECT["authors"][0]["name"], PROJECT["version"]
html_title = f"{project} {release}"
extensions = ["myst_parser"]
myst_heading_anchors = 4
smartquotes = False  # it would make one dash of the two before an option
html_theme = "furo"
html_static_path, html_css_files = ["static"], ["site.css"]
html_copy_source = False
html_theme_options = {"source_repository": REPOSITORY, "source_branch": BRANCH, "source_directory": "docs/"}
log = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Register the two steps that are ours."""
    app.connect("source-read", read)
    app.connect("build-finished", add_reference)


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Change the text of a page before Sphinx parses it."""
    if page == "index":
        contents = [
            f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{toctree(lines)}\n```\n"
            for title, lines in SECTION.findall(source[0])
        ]
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        contents.insert(0, "```{toctree}\n:hidden:\n\nGuide <self>\n```\n")
        source[0] = "\n".join([rewrite(readme, ROOT), *contents])
        return
    source[0] = rewrite(source[0], DOCS)
    if page == REFERENCE:
        source[0] += f'\n<p><a href="{REFERENCE}/index.html">To the reference of all modules</a></p>\n'


def toctree(lines: str) -> str:
    """Turn a list of links to pages into the entries of a table of contents."""
    return "\n".join(f"{title} <{page}>" for title, page in re.findall(r"\[(.+)\]\(([\w-]+)\.md\)", lines))


def rewrite(text: str, folder: Path) -> str:
    """Rewrite the links of a page that lies in `folder`, outside of code.

    Links to pages and pictures become relative to docs/, links to other files lead to the repository. A link to a file
    that does not exist is a warning.
    """
    pieces = CODE.split(text)  # every second one is code
    pieces[::2] = [LINK.sub(lambda match: target(match[1], folder), piece) for piece in pieces[::2]]
    return "".join(pieces)


def target(link: str, folder: Path) -> str:
    """Return where a link of a page in `folder` leads on the site."""
    if re.match(r"\w+:", link):
        return link
    path = (folder / link).resolve()
    if not path.exists() or not path.is_relative_to(ROOT):
        log.warning("a link leads to %s, which does not exist", link)
        return link
    if path == ROOT / "README.md":
        return "index.md"
    if path.is_relative_to(DOCS) and path.suffix in (".md", ".png", ".jpg"):
        return path.relative_to(DOCS).as_posix()
    return f"{REPOSITORY}/{'tree' if path.is_dir() else 'blob'}/{BRANCH}/{path.relative_to(ROOT).as_posix()}"


def add_reference(app: Sphinx, error: Exception | None) -> None:
    """Write the pages of the API reference into the site; its problems are warnings."""
    if error is not None or app.builder.format != "html":
        return
    command = [sys.executable, DOCS / "build_api.py", "-o", Path(app.outdir) / REFERENCE]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for line in run.stderr.splitlines():
        log.warning("API reference: %s", line)
    if run.returncode and not run.stderr:
        log.warning("API reference: exit code %d", run.returncode)
