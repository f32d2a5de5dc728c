"""Models on the Hugging Face Hub: loaded by `hf:OWNER/NAME`, and published with their card, calibrations and licence.

It needs the package `huggingface_hub` (the extra `hub`), whose own variables hold: HF_HOME, HF_TOKEN,
HF_ENDPOINT, HF_HUB_OFFLINE. JAXSR_OFFLINE=1 forbids downloads here too.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

from jaxsr.errors import install
from jaxsr.hub import checkpoint
from jaxsr.hub.checkpoint import FILE_NAME, CheckpointError
from jaxsr.plain_data import brief

PREFIX = "hf:"
CARD = "README.md"
_PATTERNS = [FILE_NAME, CARD, "calibration*.json", "LICENSE*", "CREDITS*"]
"""The files of a model."""
_NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_LICENCE = re.compile(r"^license(?:_name)?:\s*['\"]?([^'\"\n]+)", re.MULTILINE)
_NONCOMMERCIAL = re.compile(r"(^|[^a-z])nc([^a-z]|$)|non.?commercial|s-lab|research.only", re.IGNORECASE)


class HubError(OSError):
    """A model that the hub does not have, does not give, or does not take."""


def find_on_hub(name: str, *, accept_license: bool = False) -> Path:
    """Download a model `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION` into the hub's cache, and return its folder.

    Its licence is shown on stderr. Files that are there already are not downloaded again.

    Raises:
        HubError: without the package or the model, or for one without `model.safetensors`.
        ValueError: for a name of another form, or a non-commercial licence without `accept_license`.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"model: {name!r} is no name on the hub; write hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")
    hub, place = _package(), {"repo_id": match["repo"], "revision": match["revision"]}
    local = os.environ.get("JAXSR_OFFLINE", "0") not in ("", "0")
    try:
        card = Path(hub.snapshot_download(**place, allow_patterns=[CARD], local_files_only=local)) / CARD
        licences = _licences(card.read_text(encoding="utf-8") if card.is_file() else "")
        _show(name, licences, accept_license=accept_license)
        folder = Path(hub.snapshot_download(**place, allow_patterns=_PATTERNS, local_files_only=local))
    except ValueError as error:
        if isinstance(error, LicenceRefusedError):
            raise
        raise HubError(f"{name}: {brief(error, 300)}") from error
    except Exception as error:  # the hub's errors have no common base
        raise HubError(f"{name} cannot be downloaded ({brief(error, 300)}); check the name and the network") from error
    if not (folder / FILE_NAME).is_file():
        raise HubError(f"{name} has no {FILE_NAME}; it is no model of jaxsr")
    return folder


class LicenceRefusedError(ValueError):
    """A non-commercial licence that was not accepted, or that must not be published here."""


def _show(name: str, licences: list[str], *, accept_license: bool) -> None:
    said = ", ".join(licences) or "not stated"
    if _is_noncommercial(licences) and not accept_license:
        raise LicenceRefusedError(f"{name}: licence {said}; read its card and give --accept-license if you accept it")
    print(f"{name}: licence {said}", file=sys.stderr)


def push(folder: str | Path, repo: str, *, private: bool = False, message: str = "Add the model") -> str:
    """Publish a model's folder on the hub as `OWNER/NAME`, and return its address.

    The folder holds `model.safetensors`, as training or conversion wrote it, and the card `README.md`, whose head
    states the licence (`license: ...`). Calibrations, `LICENSE*` and `CREDITS*` beside them go with it.

    Raises:
        CheckpointError, FileNotFoundError: for a folder without a checkpoint of jaxsr.
        LicenceRefusedError: for weights that were converted from non-commercial ones, or a card that says so.
        ValueError: for a card without a licence.
        HubError: without the package, or if the hub does not take the files.
    """
    folder, hub = Path(folder), _package()
    _, metadata = checkpoint.load(folder)
    if "preset" not in metadata:
        raise CheckpointError(f"{folder / FILE_NAME} has no preset; publish a model that jaxsr.load takes")
    card = folder / CARD
    licences = _licences(card.read_text(encoding="utf-8") if card.is_file() else "")
    if not licences:
        raise ValueError(
            f"{card}: state the licence of the weights in its head, between two lines of ---: license: NAME"
        )
    if _is_noncommercial(licences) or _converted_from_noncommercial(metadata):
        raise LicenceRefusedError(f"{folder}: its weights are non-commercial; they are not published by jaxsr")
    try:
        api = hub.HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repo, allow_patterns=_PATTERNS, commit_message=message)
    except Exception as error:
        raise HubError(f"{repo} was not published ({brief(error, 300)}); check the name and HF_TOKEN") from error
    return f"{PREFIX}{repo}"


def _licences(card: str) -> list[str]:
    """Return the licences in the head of a card."""
    head = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    return [found.strip() for found in _LICENCE.findall(head[1])] if head else []


def _is_noncommercial(licences: list[str]) -> bool:
    return any(_NONCOMMERCIAL.search(licence) for licence in licences)


def _converted_from_noncommercial(metadata: dict[str, Any]) -> bool:
    licence = metadata.get("licence")  # of a conversion
    return isinstance(licence, dict) and _is_noncommercial([str(licence.get(name)) for name in ("name", "notice")])


def _package() -> Any:
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise HubError(f"models on the Hugging Face Hub need one more package: {install('hub')}") from error
    return huggingface_hub
