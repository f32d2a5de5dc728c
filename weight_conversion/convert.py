"""A network's and an autoencoder's file into one jaxsr checkpoint."""

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxsr.hub import checkpoint
from jaxsr.hub.cards import Licence, ModelCard, known_models
from jaxsr.models.presets import PRESETS, ModelPreset
from jaxsr.storage import sha256_file
from jaxsr.torch_files import rules
from jaxsr.torch_files.reader import Tensor, read_state_dict
from jaxsr.torch_files.rules import ConversionError
from jaxsr.version import __version__
from weight_conversion.architecture import Config, derived_buffers, infer, parameter_shapes

Part = Literal["network", "codec"]
PARTS: tuple[Part, ...] = ("network", "codec")
_WORDS = {"network": "the network (Swin-UNet)", "codec": "the VQ autoencoder"}
RELEASED = {card.preset: card for card in known_models() if card.files}


@dataclass(frozen=True)
class Source:
    """A file and the part of a model that its state dict is."""

    path: Path
    part: Part
    state: Mapping[str, Tensor]

    def architecture(self) -> Config:
        """The network that keys and shapes belong to.

        Raises:
            ConversionError: if a key that decides is not there.
        """
        try:
            return infer({key: tensor.shape for key, tensor in self.state.items()})
        except ValueError as error:
            raise ConversionError(f"{self.path}: {str(error).removesuffix('.')}.") from error

    def parameters(self, config: Config) -> dict[str, rules.Parameter]:
        """The parameters, by their names in the network alone (without `network.` or `codec.`)."""
        return rules.convert(self.state, parameter_shapes(config), derived_buffers(config), source=str(self.path))

    def float32(self, config: Config) -> dict[str, np.ndarray]:
        """As `parameters`, in memory and in float32."""
        return {name: np.asarray(value, np.float32) for name, value in self.parameters(config).items()}


def read_source(path: Path) -> Source:
    """Read a file's state dict and tell its part by its keys.

    Raises:
        ReadError, ConversionError, OSError: in one sentence that names the file.
    """
    state = read_state_dict(path)
    if any(key.startswith("input_blocks.") for key in state):
        return Source(path, "network", state)
    if any(key.startswith(("quantize.", "encoder.")) for key in state):
        return Source(path, "codec", state)
    raise ConversionError(
        f"{path}: holds neither a Swin-UNet nor a VQ autoencoder (its first keys: {', '.join(list(state)[:3])}); "
        "check that it is the right file."
    )


def convert_files(paths: Sequence[Path], folder: Path, *, preset: str | None = None, overwrite: bool = False) -> Path:
    """Convert a network's and an autoencoder's file into `folder/model.safetensors`, and return that path.

    The checkpoint carries its preset, names and SHA-256 of the sources, the licence of the weights and the version of
    the converter. It is written whole or not at all. At most one tensor of the sources is in memory at a time.

    Args:
        paths: the two files, in any order.
        folder: made if it is not there.
        preset: name of a preset or released model; by default told by keys, shapes and, where these do not
            decide, by the name of the network's file.
        overwrite: replace a checkpoint that is there already.
    Raises:
        ReadError, ConversionError, OSError: in one sentence.
    """
    target = folder / checkpoint.FILE_NAME
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target}: is there already; give another folder, or --overwrite to replace it.")
    sources = _pair([read_source(path) for path in paths])
    chosen = PRESETS[_released_name(preset)] if preset else recognise(sources)
    card = RELEASED[chosen.name]
    _check_companion(card, sources["codec"].path)
    configs: dict[Part, Any] = {"network": chosen.network, "codec": chosen.codec}
    params = {
        f"{part}.{name}": array for part in PARTS for name, array in sources[part].parameters(configs[part]).items()
    }
    metadata = {
        "preset": chosen.to_dict(),
        "sources": [
            {"part": part, "file": sources[part].path.name, "sha256": sha256_file(sources[part].path)} for part in PARTS
        ],
        "licence": licence_record(card.licence),
        "converter": {"name": "weight_conversion", "version": __version__},
    }
    return checkpoint.save(folder, params, metadata)


def convert_card(card: ModelCard, files: Mapping[str, Path], folder: Path) -> Path:
    """Convert a released model's downloaded files (by their names in the card); the registry's `Converter`."""
    return convert_files([files[file.name] for file in card.files], folder, preset=card.preset, overwrite=True)


def recognise(sources: Mapping[Part, Source]) -> ModelPreset:
    """The preset of a network and an autoencoder, by keys and shapes; the network's file name decides between equals.

    Raises:
        ConversionError: if no preset has this layout, or several have and the name is none of theirs.
    """
    hint = next((p for p, card in RELEASED.items() if _stem(card, 0) == sources["network"].path.stem), None)
    try:
        layout = (sources["network"].architecture(), sources["codec"].architecture())
    except ConversionError:
        if hint is None:
            raise
        return PRESETS[hint]  # its name says what it should be: let all that is wrong be listed
    fitting = [name for name in RELEASED if (PRESETS[name].network, PRESETS[name].codec) == layout]
    # Of the two for inpainting, which are alike, the autoencoder's name decides where the network's does not.
    fitting = [name for name in fitting if _stem(RELEASED[name], 1) == sources["codec"].path.stem] or fitting
    if len(fitting) == 1 or hint in fitting:
        return PRESETS[hint if hint in fitting else fitting[0]]
    path = sources["network"].path
    if fitting:
        raise ConversionError(
            f"{path}: {', '.join(fitting)} all have this layout and the file's name is none of theirs: "
            "say which one it is with --preset."
        )
    if hint:
        return PRESETS[hint]
    raise ConversionError(
        f"{path} and {sources['codec'].path}: no released model has this layout; --preset NAME lists what differs from "
        f"one of {', '.join(RELEASED)}."
    )


def licence_record(licence: Licence) -> dict[str, str]:
    """A licence as a checkpoint carries it, with its text."""
    text = importlib.resources.files("weight_conversion").joinpath("licences/s_lab_1_0.txt").read_text("utf-8")
    if "CC BY-NC-SA 4.0" in licence.name:
        address = "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode"
        text = f"CC BY-NC-SA 4.0, whose text is at {address}; for what it builds on:\n\n{text}"
    return {"name": licence.name, "url": licence.url, "notice": licence.notice, "text": text}


def _pair(sources: Sequence[Source]) -> dict[Part, Source]:
    parts: dict[Part, Source] = {source.part: source for source in sources}
    missing = [_WORDS[part] for part in PARTS if part not in parts]
    if missing:
        raise ConversionError(f"{sources[0].path}: give the file of {' and '.join(missing)} as well.")
    if len(sources) != len(PARTS):
        raise ConversionError(f"give two files, that of {_WORDS['network']} and that of {_WORDS['codec']}.")
    return parts


def _released_name(name: str) -> str:
    """The preset of a preset's or model's name."""
    names = {card.name: preset for preset, card in RELEASED.items()} | {preset: preset for preset in RELEASED}
    if name not in names:
        raise ConversionError(f"--preset: no {name!r}; choose one of {', '.join(RELEASED)}.")
    return names[name]


def _stem(card: ModelCard, index: int) -> str:
    return Path(card.files[index].name).stem


def _check_companion(card: ModelCard, autoencoder: Path) -> None:
    """Refuse an autoencoder that was released for another model: the two of f4 have one layout."""
    released = {_stem(other, 1) for other in RELEASED.values()}
    if autoencoder.stem in released - {_stem(card, 1)}:
        raise ConversionError(
            f"{autoencoder}: is not the autoencoder of {card.name}, which needs {card.files[1].name}."
        )
