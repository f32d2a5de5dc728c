"""Protocols read from JSON files: jaxsr's own by name, and any other by its path."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from jaxsr.evaluation.protocols import Protocol, ProtocolError, did_you_mean
from jaxsr.evaluation.variants import check_variants
from jaxsr.plain_data import brief, convert, parse_json

FOLDER = Path(__file__).with_name("protocols")
_OBJECT = (dict, "an object of names")
_KINDS: dict[str, tuple[type, str]] = {
    "name": (str, "text"),
    "about": (str, "text"),
    "round_luma": (bool, "true or false"),
    "metrics": (list, "a list of names"),
    "variants": _OBJECT,
    "images": _OBJECT,
    "lr_images": _OBJECT,
}


def known_protocols() -> list[str]:
    """List the names of the protocols that come with jaxsr."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_protocol(name_or_path: str) -> Protocol:
    """Load a protocol by its name, or from a JSON file with the fields of `Protocol`.

    Raises:
        ProtocolError: if the name is unknown, or if the file is not a protocol.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = FOLDER / f"{name_or_path}.json"
        if name_or_path not in known_protocols():
            raise ProtocolError(
                f"--protocol: no {name_or_path!r}{did_you_mean(name_or_path, known_protocols())}; give one of "
                f"{', '.join(known_protocols())}, or the path of a JSON file."
            )
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ProtocolError(f"--protocol: there is no file {path}; check the name.") from error
    except (OSError, ValueError) as error:
        raise ProtocolError(f"{path}: cannot be read as JSON ({error}); give a protocol file.") from error
    try:
        return read_protocol(content, str(path))
    except ProtocolError as error:
        text = brief(error)
        raise ProtocolError(text if str(path) in text else f"{path}: {text}") from error


def read_protocol(content: Any, source: str) -> Protocol:
    """Make a protocol from the content of its file or of a result. `source` names the content in a ProtocolError."""
    known = {field.name for field in fields(Protocol)}
    if not isinstance(content, dict) or not {"name", "about"} <= content.keys():
        raise ProtocolError(f"{source}: a protocol needs the fields name and about; add them.")
    if unknown := content.keys() - known:
        raise ProtocolError(
            f"{source}: a protocol has no {', '.join(sorted(unknown))}; its fields are {', '.join(sorted(known))}."
        )
    for key in _KINDS.keys() & content.keys():
        kind, words = _KINDS[key]
        if not isinstance(content[key], kind):
            raise ProtocolError(f"{source}: {key} must be {words}, not {json.dumps(content[key])}.")
    if variants := content.get("variants"):
        check_variants(variants, source)
    try:
        return convert(content, Protocol, where=source)
    except ProtocolError:
        raise
    except ValueError as error:
        raise ProtocolError(f"{error}; correct the protocol.") from error
