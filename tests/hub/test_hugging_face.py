"""Test that models are loaded from, and published on, a hub, here a server of our own, with their licence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxsr.hub import checkpoint
from jaxsr.hub.hugging_face import HubError, LicenceRefusedError, find_on_hub, push
from tests.hub.hub_server import Hub
from tests.small_model import small_preset

ROOT = Path(__file__).parents[2]
CARD = "---\nlicense: cc-by-sa-4.0\ntags: [super-resolution]\n---\n# A small model\n"
RUN = """
import json, sys
import jaxsr
from jaxsr.hub.hugging_face import HubError, LicenceRefusedError
for words in json.loads(sys.argv[1]):
    what, *arguments = words
    try:
        if what == "load":
            print(jaxsr.load(arguments[0], accept_license=arguments[1]).sha256)
        else:
            print(jaxsr.push(*arguments))
    except (HubError, ValueError) as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def model(small_checkpoints, tmp_path):
    """Return a folder with a model, its card and a calibration."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(small_checkpoints["channel"], folder / checkpoint.FILE_NAME)
    (folder / "README.md").write_text(CARD)
    (folder / "calibration.json").write_text("{}")
    (folder / "secret.txt").write_text("stays here")
    return folder


def run(hub, tmp_path, *calls, **variables) -> tuple[list[str], str]:
    """Make calls in a process of their own, because the hub's package reads its variables once."""
    pytest.importorskip("huggingface_hub")
    variables = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_x"} | variables
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | variables
    command = [sys.executable, "-c", RUN, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_a_model_is_published_and_loaded_again(hub, model, tmp_path):
    lines, said = run(hub, tmp_path, ("push", str(model), "me/small"), ("load", "hf:me/small", False))
    assert lines[0] == "hf:me/small"
    assert lines[1] == checkpoint_hash(model)
    assert "hf:me/small: licence cc-by-sa-4.0" in said
    assert hub.repos["me/small"].keys() == {"model.safetensors", "README.md", "calibration.json"}
    asked = len(hub.requests)
    lines, _ = run(hub, tmp_path, ("load", "hf:me/small", False), JAXSR_OFFLINE="1")
    assert lines == [checkpoint_hash(model)]
    assert len(hub.requests) == asked  # from the hub's cache


def checkpoint_hash(folder: Path) -> str:
    from jaxsr.storage import sha256_file

    return sha256_file(folder / checkpoint.FILE_NAME)


def test_what_cannot_be_loaded_is_refused_in_a_sentence(hub, model, tmp_path):
    hub.repos["me/empty"] = {"README.md": CARD.encode()}
    hub.repos["me/nc"] = {"README.md": CARD.replace("by-sa", "by-nc").encode(), "model.safetensors": b""}
    calls = [("load", name, False) for name in ("hf:me/none", "hf:me/empty", "hf:me/nc", "hf:none")]
    lines, _ = run(hub, tmp_path, *calls)
    for line, start in zip(
        lines,
        (
            "HubError hf:me/none cannot be downloaded (",
            "HubError hf:me/empty has no model.safetensors; it is no model of jaxsr",
            "LicenceRefusedError hf:me/nc: licence cc-by-nc-4.0; read its card and give --accept-license",
            "ValueError model: 'hf:none' is no name on the hub; write hf:OWNER/NAME",
        ),
        strict=True,
    ):
        assert line.startswith(start), line


@pytest.mark.parametrize("name", ["hf:none", "hf:a/b/c", "hf:../etc/passwd", "hf:a/b@", "hf:a/b c"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="is no name on the hub"):
        find_on_hub(name)


def test_non_commercial_weights_are_not_published(model):
    pytest.importorskip("huggingface_hub")
    (model / "README.md").write_text(CARD.replace("cc-by-sa-4.0", "other\nlicense_name: s-lab-1.0"))
    with pytest.raises(LicenceRefusedError, match="its weights are non-commercial"):
        push(model, "me/small")
    (model / "README.md").write_text(CARD)
    arrays = {"a": np.ones(1, np.float32)}
    for name in ("S-Lab License 1.0", "MIT; CC BY-NC-SA 4.0"):
        metadata = {"preset": small_preset("channel").to_dict(), "licence": {"name": name, "notice": ""}}
        checkpoint.save(model, arrays, metadata)
        with pytest.raises(LicenceRefusedError, match="its weights are non-commercial"):
            push(model, "me/small")


@pytest.mark.parametrize("card", [None, "# no head\n", "---\ntags: []\n---\n"])
def test_a_card_without_a_licence_is_not_published(model, card):
    pytest.importorskip("huggingface_hub")
    (model / "README.md").unlink()
    if card is not None:
        (model / "README.md").write_text(card)
    with pytest.raises(ValueError, match="state the licence of the weights"):
        push(model, "me/small")


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(HubError, match=r"need one more package: run  pip install '\.\[hub\]'"):
        find_on_hub("hf:a/b")
