"""Test what a name or a path resolves to, and licence, download and conversion in turn."""

import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import jaxsr
from jaxsr.hub import cards, checkpoint
from jaxsr.hub import resolve as resolve_module
from jaxsr.hub.cards import Licence, ModelCard, RemoteFile, known_models
from jaxsr.hub.download import ChecksumError, DownloadError
from jaxsr.hub.resolve import LicenceError, UnknownModelError, resolve
from jaxsr.models.presets import PRESETS, preset_from_dict
from jaxsr.storage import sha256_file

RELEASED = [card for card in known_models() if not card.bundled]


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("JAXSR_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Register a released model of two files, which a local server serves from `tmp_path/server`."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "net.pth").write_bytes(b"network")
    (folder / "vq.pth").write_bytes(b"autoencoder")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    known = RemoteFile("vq.pth", (f"{address}/vq.pth",), size=11, sha256=sha256_file(folder / "vq.pth"))
    files = (RemoteFile("net.pth", (f"{address}/gone.pth", f"{address}/net.pth")), known)
    licence = Licence("Test Licence 1", "http://licence.invalid", True, "for tests only")
    card = ModelCard("fake-x4", "tiny_x4", "a fake", 4, files, licence)
    monkeypatch.setitem(cards.MODELS, card.name, card)
    yield card
    server.shutdown()
    server.server_close()


def _convert(card, files, folder):
    content = {name: np.frombuffer(path.read_bytes(), np.uint8) for name, path in files.items()}
    checkpoint.save(folder, content, {"preset": PRESETS[card.preset].to_dict()})


def test_bundled_model_is_found_in_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(resolve_module.importlib.resources, "files", lambda package: tmp_path / package)
    with pytest.raises(FileNotFoundError, match="install jaxsr again"):
        resolve("tiny-x4")
    path = tmp_path / "jaxsr" / "assets" / "tiny-x4" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    assert resolve("tiny-x4") == path


@pytest.mark.parametrize(("name", "preset"), [("tiny-x4", "tiny_x4"), ("photo-x4", "photo_x4")])
def test_bundled_models_load_and_enlarge(name, preset):
    _, metadata = checkpoint.load(resolve(name))
    assert preset_from_dict(metadata["preset"]) == PRESETS[preset]
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    enlarged = jaxsr.load(name).upscale(image)
    assert (enlarged.shape, enlarged.dtype) == ((32, 32, 3), np.uint8)


def test_a_path_is_itself_and_wins_only_when_it_looks_like_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = checkpoint.save(tmp_path / "run", {}, {})
    assert resolve(own) == own
    assert resolve("run") == Path("run")
    (tmp_path / "sinsr-v1").mkdir()
    assert resolve("./sinsr-v1") == Path("sinsr-v1") == resolve(Path("sinsr-v1"))
    with pytest.raises(LicenceError):
        resolve("sinsr-v1")


@pytest.mark.parametrize("path", ["runs/none", "none.safetensors", Path("none")])
def test_path_that_is_not_there(path):
    with pytest.raises(FileNotFoundError, match=r"none.*check the path"):
        resolve(path)


def test_unknown_name_lists_close_ones_and_all():
    with pytest.raises(UnknownModelError, match=r"unknown model 'tiny_x4': did you mean tiny-x4\?") as caught:
        resolve("tiny_x4")
    assert all(card.name in str(caught.value) for card in known_models())
    with pytest.raises(UnknownModelError, match=r"'zzz': give the path"):
        resolve("zzz")


@pytest.mark.parametrize("name", [card.name for card in RELEASED])
def test_released_models_are_converted_with_their_own_card_and_files(name, monkeypatch, cache):
    monkeypatch.setattr(resolve_module, "_download", lambda file: Path(file.name))
    given = []

    def convert_card(card, files, folder):
        given.append((card, files, folder))
        return folder / "model.safetensors"

    monkeypatch.setattr("weight_conversion.convert.convert_card", convert_card)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):  # the converter wrote no file
        jaxsr.load(name, accept_license=True)
    (card,) = (card for card in known_models() if card.name == name)
    assert given == [(card, {file.name: Path(file.name) for file in card.files}, cache / name)]


def test_importing_jaxsr_does_not_import_the_converter():
    code = "import sys, jaxsr.hub.resolve, jaxsr.upscaling.loading; "
    code += "assert not any('weight_conversion' in m for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_licence_is_shown_and_must_be_accepted_before_the_download(card, cache, capsys):
    terms = r"^fake-x4: Test Licence 1 \(http://licence\.invalid\): for tests only; read .* --accept-license"
    with pytest.raises(LicenceError, match=terms):
        resolve("fake-x4", convert=_convert)
    assert capsys.readouterr().err == ""  # only the error says it
    assert not cache.exists()


def test_accepted_model_is_downloaded_and_converted_once(card, cache, monkeypatch):
    path = resolve("fake-x4", accept_license=True, convert=_convert)
    assert path == cache / "fake-x4" / "model.safetensors"
    params, metadata = checkpoint.load(path)
    assert {name: value.tobytes() for name, value in params.items()} == {
        "net.pth": b"network",
        "vq.pth": b"autoencoder",
    }
    assert preset_from_dict(metadata["preset"]) == PRESETS["tiny_x4"]
    monkeypatch.setenv("JAXSR_OFFLINE", "1")
    assert resolve("fake-x4") == path


def test_free_licence_is_shown_but_needs_no_acceptance(card, monkeypatch, capsys):
    free = Licence("Free 1", "http://free.invalid", False, "do as you like")
    monkeypatch.setitem(cards.MODELS, "fake-x4", replace(card, licence=free))
    assert resolve("fake-x4", convert=_convert).is_file()
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "Free 1" in line)
    assert line.endswith("do as you like")


def test_a_need_of_a_mask_is_shown_before_the_download(card, monkeypatch, capsys):
    monkeypatch.setitem(cards.MODELS, "fake-x4", replace(card, needs_mask=True))
    resolve("fake-x4", accept_license=True, convert=_convert)
    assert capsys.readouterr().err.splitlines()[0].endswith("; runs only with a mask")


def _again(cache: Path) -> None:
    (cache / "fake-x4" / "model.safetensors").unlink()
    (cache / "downloads" / "net.pth").unlink()


def test_unknown_hash_is_printed_and_pinned_at_first_use(card, cache, tmp_path, capsys):
    resolve("fake-x4", accept_license=True, convert=_convert)
    pin, served = cache / "downloads" / "net.pth.sha256", tmp_path / "server" / "net.pth"
    first = sha256_file(served)
    assert pin.read_text() == f"{first}  net.pth\n"
    assert not (cache / "downloads" / "vq.pth.sha256").exists()
    _, *lines = capsys.readouterr().err.splitlines()  # the first one states the licence
    assert lines == [f"net.pth: 7 bytes, sha256 {first}, recorded in {pin}"]
    _again(cache)
    resolve("fake-x4", accept_license=True, convert=_convert)
    assert "sha256" not in capsys.readouterr().err

    _again(cache)
    served.write_bytes(b"NETWORK")
    with pytest.raises(ChecksumError, match=rf"its sha256 is {sha256_file(served)} instead of {first}.*delete {pin}"):
        resolve("fake-x4", accept_license=True, convert=_convert)
    pin.unlink()
    assert resolve("fake-x4", accept_license=True, convert=_convert).is_file()


def test_partly_known_hash_is_enforced_and_the_whole_one_is_pinned(card, cache, tmp_path, monkeypatch):
    served = tmp_path / "server" / "net.pth"
    whole = sha256_file(served)
    files = (replace(card.files[0], sha256=f"{whole[:8]}...{whole[-4:]}"), card.files[1])
    monkeypatch.setitem(cards.MODELS, "fake-x4", replace(card, files=files))
    pin = cache / "downloads" / "net.pth.sha256"
    pin.parent.mkdir(parents=True)
    pin.write_text(f"{'0' * 64}  net.pth\n")  # of another file, before the card had a hash
    resolve("fake-x4", accept_license=True, convert=_convert)
    assert pin.read_text() == f"{whole}  net.pth\n"

    served.write_bytes(b"NETWORK")
    _again(cache)
    with pytest.raises(ChecksumError, match=rf"sha256 is {sha256_file(served)} instead of {whole}.*first download"):
        resolve("fake-x4", accept_license=True, convert=_convert)
    pin.unlink()
    with pytest.raises(ChecksumError, match=rf"instead of {whole[:8]}\.\.\.{whole[-4:]}\)") as caught:
        resolve("fake-x4", accept_license=True, convert=_convert)
    assert "first download" not in str(caught.value)
    assert not pin.exists()


def test_known_hash_is_enforced(card, cache, tmp_path):
    (tmp_path / "server" / "vq.pth").write_bytes(b"AUTOENCODER")
    with pytest.raises(ChecksumError, match="sha256") as caught:
        resolve("fake-x4", accept_license=True, convert=_convert)
    assert "first download" not in str(caught.value)
    assert not (cache / "fake-x4").exists()


def test_known_size_is_enforced(card, monkeypatch):
    files = (replace(card.files[0], size=8), card.files[1])
    monkeypatch.setitem(cards.MODELS, "fake-x4", replace(card, files=files))
    with pytest.raises(ChecksumError, match="the server has 7 bytes instead of 8"):
        resolve("fake-x4", accept_license=True, convert=_convert)


def test_offline_says_where_to_put_the_file_and_takes_it_from_there(card, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_OFFLINE", "1")
    by_hand = cache / "downloads"
    with pytest.raises(DownloadError, match=rf"put it at {by_hand / 'net.pth'}"):
        resolve("fake-x4", accept_license=True, convert=_convert)
    by_hand.mkdir(parents=True)
    for name in ("net.pth", "vq.pth"):
        (by_hand / name).write_bytes((tmp_path / "server" / name).read_bytes())
    assert resolve("fake-x4", accept_license=True, convert=_convert).is_file()
