"""The search for a model's checkpoint on this machine, by name or by path, with download and conversion if needed."""

import difflib
import importlib.resources
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from jaxsr.hub.cards import MODELS, ModelCard, RemoteFile, find_card
from jaxsr.hub.checkpoint import FILE_NAME
from jaxsr.hub.hugging_face import PREFIX, find_on_hub
from jaxsr.storage import cache_dir, sha256_file, write_whole


class UnknownModelError(ValueError):
    """A name that is neither a known model nor a path."""


class LicenceError(ValueError):
    """A model whose licence the user has not accepted yet."""


Converter = Callable[[ModelCard, Mapping[str, Path], Path], object]
"""Takes (card, downloaded files by their names in the card, folder) and writes the checkpoint into the folder."""


def resolve(name_or_path: str | Path, *, accept_license: bool = False, convert: Converter | None = None) -> Path:
    """Find the checkpoint of a named model. The path of a checkpoint file or folder is returned unchanged.

    A str that is a known name means that model, and so does the name without its number of steps (see `find_card`).
    Write ./name for a file of the same name. A Path is always a path. A released model is downloaded into `cache_dir()`
    and converted once. Its licence, and what it needs to run, are shown on stderr beforehand. `hf:OWNER/NAME` is a
    model on the Hugging Face Hub, see `jaxsr.hub.hugging_face`.

    Args:
        name_or_path: name of a model, or path of a checkpoint.
        accept_license: whether the user accepts a non-commercial licence.
        convert: makes the checkpoint of a released model, as `weight_conversion.convert.convert_card` does.
    Raises:
        UnknownModelError: for a name that is neither a model nor a path.
        FileNotFoundError: for a path that does not exist.
        LicenceError: for non-commercial weights without `accept_license`.
        DownloadError: (an OSError) if a file is unavailable.
        ValueError: for a file that is not the released one, or for a released model without `convert`.
    """
    if isinstance(name_or_path, str) and name_or_path.startswith(PREFIX):
        return find_on_hub(name_or_path, accept_license=accept_license)
    card = find_card(name_or_path) if isinstance(name_or_path, str) else None
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
    close = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UnknownModelError(
        f"unknown model {name!r}: {hint}give the path of a checkpoint or one of {', '.join(MODELS)}"
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
    print(f"{terms}{'; runs only with a mask' if card.needs_mask else ''}", file=sys.stderr)
    if convert is None:
        raise ValueError(
            f"{card.name} must be converted first; give a converter, or load it with jaxsr.load({card.name!r})"
        )
    convert(card, {file.name: _download(file) for file in card.files}, folder)


def _download(file: RemoteFile) -> Path:
    """Download a file into the cache.

    Unless its card has the whole hash, the hash of the first download is printed and pinned beside the file.
    """
    from jaxsr.hub.download import ChecksumError, fetch, is_sha256  # HTTP, which the bundled model does not need

    path = cache_dir() / "downloads" / file.name
    pin = path.with_name(f"{file.name}.sha256")  # in the format of sha256sum -c
    whole = file.sha256 is not None and "..." not in file.sha256
    pinned = None if whole else _read_pin(pin)
    if pinned and file.sha256 and not is_sha256(pinned, file.sha256):
        pinned = None  # of a wrong file, from before the card had these digits
    try:
        fetch(file.urls, path, sha256=pinned or file.sha256, size=file.size)
    except ChecksumError as error:
        advice = f"; the expected hash is from the first download, delete {pin} to accept a new file" if pinned else ""
        raise ChecksumError(f"{error}{advice}") from error
    if not (whole or pinned):
        actual = sha256_file(path)
        write_whole(pin, f"{actual}  {file.name}\n")
        print(f"{file.name}: {path.stat().st_size} bytes, sha256 {actual}, recorded in {pin}", file=sys.stderr)
    return path


def _read_pin(pin: Path) -> str | None:
    return pin.read_text(encoding="utf-8").partition(" ")[0] or None if pin.exists() else None
