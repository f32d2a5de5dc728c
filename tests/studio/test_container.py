"""Test the Dockerfile and compose.yml as far as that goes without Docker: what they name exists."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from jaxsr.cli.studio import PORT, SECRET, make_parser

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def instructions(name: str) -> list[str]:
    """Return the arguments of every instruction of a kind, with continued lines joined."""
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def test_the_copied_files_exist_and_are_all_that_the_package_needs():
    sources = [word for line in instructions("COPY") for word in line.split()[:-1]]
    assert [name for name in sources if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = project["tool"]["hatch"]
    needed = {
        "pyproject.toml",
        *(part["path"] for part in build["metadata"]["hooks"]["fancy-pypi-readme"]["fragments"]),
        *build["build"]["targets"]["wheel"]["packages"],
    }
    needed |= {name for name in project["project"]["license-files"] if "/" not in name}
    assert needed <= set(sources)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not set(ignored) & set(sources)


@pytest.mark.parametrize("extras", re.findall(r"EXTRAS[=:] ?([\w,]+)", DOCKERFILE + (ROOT / "compose.yml").read_text()))
def test_the_extras_exist(extras):
    assert set(extras.split(",")) <= EXTRAS.keys()
    assert "studio" in extras


def test_the_command_is_one_that_the_parser_takes(monkeypatch):
    (line,) = instructions("ENTRYPOINT")
    words = json.loads(line)
    assert words[:3] == ["python", "-m", "jaxsr.studio"]
    args = make_parser().parse_args(words[3:])
    assert (args.host, args.port) == ("0.0.0.0", PORT)
    assert args.token is None  # it comes from the variable, and the command refuses to start without
    assert instructions("EXPOSE") == [str(PORT)]
    assert instructions("USER") == ["jaxsr"]  # no root


def test_compose_publishes_on_this_machine_alone_and_demands_a_token():
    for service in COMPOSE["services"].values():
        assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
        assert service["environment"][SECRET].startswith(f"${{{SECRET}:?")
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert all(volume.split(":")[0] in COMPOSE["volumes"] for volume in service["volumes"])
