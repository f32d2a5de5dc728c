"""The models known by name, as data, and the way from a name to a checkpoint on this machine."""

import difflib
import importlib.resources
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxsr.checkpoint import FILE_NAME, sha256_file
from jaxsr.whole_file import write_whole


class UnknownModelError(ValueError):
    """A name that is neither a known model nor a path."""


class LicenceError(ValueError):
    """A model whose licence has to be accepted first."""


@dataclass(frozen=True)
class Licence:
    """The terms of a model's weights; `notice` is one line to show before they are downloaded."""

    name: str
    url: str
    noncommercial: bool
    notice: str


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: addresses that all hold it, and its size in bytes and SHA-256 where they are known.

    Where the SHA-256 is not known, that of the first download is noted beside the file and holds from then on.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """A named model: its preset, what it does by which factor, its files (none if bundled) and the weights' licence."""

    name: str
    preset: str
    description: str
    scale: int
    files: tuple[RemoteFile, ...]
    licence: Licence
    bundled: bool = False


Converter = Callable[[ModelCard, Mapping[str, Path], Path], object]
"""Reads the downloaded files (by their names in the card) and calls `checkpoint.save` with the given folder."""

_CC_BY_SA = Licence(
    name="CC BY-SA 4.0",
    url="https://creativecommons.org/licenses/by-sa/4.0/",
    noncommercial=False,
    notice="weights trained on photographs of CID22 (CC BY-SA 4.0) and of gb82 (CC0 1.0); the code is Apache-2.0",
)
_S_LAB = Licence(
    name="S-Lab License 1.0",
    url="https://github.com/zsyOAOA/ResShift/blob/HEAD/LICENSE",
    noncommercial=True,
    notice="released by the authors of ResShift for non-commercial use only",
)
_SINSR = Licence(
    name="CC BY-NC-SA 4.0, and S-Lab License 1.0 for what it builds on",
    url="https://github.com/wyf0912/SinSR",
    noncommercial=True,
    notice="released by the authors of SinSR for non-commercial use only, share-alike; distilled from ResShift",
)


def _resshift_file(name: str) -> RemoteFile:
    return RemoteFile(name, (f"https://github.com/zsyOAOA/ResShift/releases/download/v2.0/{name}",))


_VQ_F4 = _resshift_file("autoencoder_vq_f4.pth")
_VQ_F4_FACE = _resshift_file("celeba256_vq_f4_dim3_face.pth")
_VQ_F8_FACE = _resshift_file("ffhq512_vq_f8_dim8_face.pth")
_SINSR_V1 = RemoteFile("SinSR_v1.pth", ("https://github.com/wyf0912/SinSR/releases/download/v1.0/SinSR_v1.pth",))


def _resshift(name: str, description: str, scale: int, file: str, autoencoder: RemoteFile = _VQ_F4) -> ModelCard:
    files = (_resshift_file(file), autoencoder)
    return ModelCard(f"resshift-{name}", name.replace("-", "_"), description, scale, files, _S_LAB)


_CARDS = (
    ModelCard("tiny-x4", "tiny_x4", "small demonstration model, in the package", 4, (), _CC_BY_SA, bundled=True),
    _resshift("realsr-s4-v3", "real photographs, 4 steps", 4, "resshift_realsrx4_s4_v3.pth"),
    _resshift("realsr-s15-v1", "real photographs, 15 steps", 4, "resshift_realsrx4_s15_v1.pth"),
    _resshift("realsr-s15-v2", "real photographs, 15 steps, second version", 4, "resshift_realsrx4_s15_v2.pth"),
    _resshift("bicsr-s4", "images reduced by bicubic interpolation, 4 steps", 4, "resshift_bicsrx4_s4.pth"),
    _resshift("inpainting-imagenet-s4", "filling in natural images, 4 steps", 1, "resshift_inpainting_imagenet_s4.pth"),
    _resshift("inpainting-face-s4", "filling in faces, 4 steps", 1, "resshift_inpainting_face_s4.pth", _VQ_F4_FACE),
    _resshift("faceir-s4", "restoring degraded faces, 4 steps", 1, "resshift_faceir_s4.pth", _VQ_F8_FACE),
    ModelCard("sinsr-v1", "sinsr_v1", "real photographs, 1 step", 4, (_SINSR_V1, _VQ_F4), _SINSR),
)
_MODELS = {card.name: card for card in _CARDS}


def known_models() -> tuple[ModelCard, ...]:
    """Every model that `resolve` knows by name."""
    return tuple(_MODELS.values())


def cache_dir() -> Path:
    """The folder of downloads: JAXSR_CACHE_DIR, else XDG_CACHE_HOME/jaxsr, else ~/.cache/jaxsr."""
    if own := os.environ.get("JAXSR_CACHE_DIR"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxsr"


def resolve(name_or_path: str | Path, *, accept_license: bool = False, convert: Converter | None = None) -> Path:
    """The checkpoint for a model name, or for the path of a checkpoint file or folder, which comes back as it is.

    A str that is a known name means that model (write ./name for a file of that name); a Path is always a path. A
    released model is downloaded into `cache_dir()` and converted (by `weight_conversion`, or by `convert`), once; its
    licence is shown on stderr before that.

    Raises UnknownModelError; FileNotFoundError for a path that is not there; LicenceError for non-commercial weights
    without `accept_license`; DownloadError; ValueError for a file that is not the released one.
    """
    card = _MODELS.get(name_or_path) if isinstance(name_or_path, str) else None
    if card is None:
        return _existing(name_or_path)
    if card.bundled:
        return _bundled(card)
    folder = cache_dir() / card.name
    if not (folder / FILE_NAME).exists():
        _install(card, folder, accept_license=accept_license, convert=convert)
    return folder / FILE_NAME


def _existing(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.exists():
        return path
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix == ".safetensors" or path.name != name:
        raise FileNotFoundError(f"there is no checkpoint {name}: check the path, or give a model name")
    close = difflib.get_close_matches(name, _MODELS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UnknownModelError(
        f"unknown model {name!r}: {hint}give the path of a checkpoint or one of {', '.join(_MODELS)}"
    )


def _bundled(card: ModelCard) -> Path:
    path = Path(str(importlib.resources.files("jaxsr"))) / "assets" / card.name / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"this installation lacks {path}: install jaxsr again")
    return path


def _install(card: ModelCard, folder: Path, *, accept_license: bool, convert: Converter | None) -> None:
    licence = card.licence
    terms = f"{card.name}: {licence.name} ({licence.url}): {licence.notice}"
    if licence.noncommercial and not accept_license:
        raise LicenceError(f"{terms}; read the licence and give --accept-license if you accept it")
    print(terms, file=sys.stderr)
    if convert is None:
        from weight_conversion.convert import convert_card as convert  # here: it imports the networks
    convert(card, {file.name: _download(file) for file in card.files}, folder)


def _download(file: RemoteFile) -> Path:
    """Fetch a file into the cache; where its card has no hash, that of the first download is pinned beside it."""
    from jaxsr.download import ChecksumError, fetch  # HTTP, which the bundled model does not need

    path = cache_dir() / "downloads" / file.name
    pin = path.with_name(f"{file.name}.sha256")  # in the format of sha256sum -c
    pinned = _read_pin(pin) if file.sha256 is None else None
    try:
        fetch(file.urls, path, sha256=file.sha256 or pinned, size=file.size)
    except ChecksumError as error:
        note = f"; the hash is that of the first download, delete {pin} to accept a new file" if pinned else ""
        raise ChecksumError(f"{error}{note}") from error
    if file.sha256 is None and pinned is None:
        write_whole(pin, f"{sha256_file(path)}  {file.name}\n")
    return path


def _read_pin(pin: Path) -> str | None:
    return pin.read_text(encoding="utf-8").partition(" ")[0] or None if pin.exists() else None
