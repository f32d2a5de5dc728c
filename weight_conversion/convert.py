"""The conversion of a network's file and an autoencoder's file to one jaxsr checkpoint."""

import importlib.resources
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxsr.hub import checkpoint
from jaxsr.hub.cards import Licence, ModelCard, find_card, known_models
from jaxsr.models.presets import PRESETS, ModelPreset
from jaxsr.storage import sha256_file
from jaxsr.torch_files import key_rules
from jaxsr.torch_files.key_rules import ConversionError
from jaxsr.torch_files.reader import Tensor, read_state_dict
from jaxsr.version import __version__
from weight_conversion.architecture import MODULES, Config, derived_buffers, infer, parameter_shapes

Part = Literal["network", "codec"]
PARTS: tuple[Part, ...] = ("network", "codec")
_PART_NAMES = {"network": "the network (Swin-UNet)", "codec": "the VQ autoencoder"}
_NAMED = 20  # foreign entries that a message names
RELEASED = {card.preset: card for card in known_models() if card.files}


@dataclass(frozen=True)
class Source:
    """A file, and the part of a model that its state dict holds.

    Attributes:
        path: the file.
        part: the part of a model.
        state: the entries below a module of that part (see `MODULES`). All of them must fit the network.
        foreign: the keys of all other entries, in the order of the file. The loader of the released program ignores
            them too: the discriminator and the weights of a loss, counters, the state of an optimiser.
    """

    path: Path
    part: Part
    state: Mapping[str, Tensor]
    foreign: tuple[str, ...] = ()

    def architecture(self) -> Config:
        """Infer the configuration of the network from keys and shapes.

        Raises:
            ConversionError: if a key that decides is missing.
        """
        try:
            return infer({key: tensor.shape for key, tensor in self.state.items()})
        except ValueError as error:
            raise ConversionError(f"{self.path}: {str(error).removesuffix('.')}.") from error

    def parameters(self, config: Config) -> dict[str, key_rules.Parameter]:
        """Return the parameters by their names in the network alone, without `network.` or `codec.`."""
        return key_rules.convert(self.state, parameter_shapes(config), derived_buffers(config), source=str(self.path))

    def float32(self, config: Config) -> dict[str, np.ndarray]:
        """Read the parameters into memory, in float32, by the same names as `parameters`."""
        return {name: np.asarray(value, np.float32) for name, value in self.parameters(config).items()}


def read_source(path: Path) -> Source:
    """Read the state dict of a file, determine its part from its keys, and set its foreign entries apart.

    Raises:
        ReadError, ConversionError, OSError: if that fails; the message is one sentence that names the file.
    """
    state = read_state_dict(path)
    if any(key.startswith("input_blocks.") for key in state):
        return _split(path, "network", state)
    if any(key.startswith(("quantize.", "encoder.")) for key in state):
        return _split(path, "codec", state)
    raise ConversionError(
        f"{path}: holds neither a Swin-UNet nor a VQ autoencoder (its first keys: {', '.join(list(state)[:3])}); "
        "check that it is the right file."
    )


def _split(path: Path, part: Part, state: Mapping[str, Tensor]) -> Source:
    own = {key: tensor for key, tensor in state.items() if key.partition(".")[0] in MODULES[part]}
    return Source(path, part, own, tuple(key for key in state if key not in own))


def print_ignored(source: Source) -> None:
    """Name the foreign entries of a file on stderr, if it has any: their number and the first of them."""
    if source.foreign:
        print(f"note: {source.path}: ignored {_count_foreign(source)}", file=sys.stderr)


def _count_foreign(source: Source) -> str:
    first, rest = source.foreign[:_NAMED], len(source.foreign) - _NAMED
    entries = "entry that is" if len(source.foreign) == 1 else "entries that are"
    names = ", ".join(first) + (f" and {rest} more" if rest > 0 else "")
    return f"{len(source.foreign)} {entries} no part of {_PART_NAMES[source.part]}: {names}"


def convert_files(
    paths: Sequence[Path], folder: Path, *, preset: str | None = None, overwrite: bool = False, strict: bool = False
) -> Path:
    """Convert a network's file and an autoencoder's file to `folder/model.safetensors`, and return that path.

    The checkpoint contains its preset, the names and SHA-256 of the sources, the licence of the weights and the version
    of the converter. It is written completely or not at all. At most one tensor of the sources is in memory at a time.
    Entries outside of the modules of the network (see `Source`) are ignored, with a note on stderr.

    Args:
        paths: the two files, in any order.
        folder: folder of the checkpoint; created if it does not exist.
        preset: name of a preset or released model. None infers it from keys and shapes and, where these do not decide,
            from the names of the files.
        overwrite: whether to replace an existing checkpoint.
        strict: whether to refuse a file with such entries.
    Raises:
        ReadError, ConversionError, OSError: if that fails; the message is one sentence.
    """
    target = folder / checkpoint.FILE_NAME
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target}: already exists; give another folder, or --overwrite to replace it.")
    sources = _pair([read_source(path) for path in paths])
    if strict:
        _refuse_foreign(sources.values())
    chosen = PRESETS[_released_name(preset)] if preset else recognise(sources)
    card = RELEASED[chosen.name]
    _check_companion(card, sources["codec"].path)
    configs: dict[Part, Any] = {"network": chosen.network, "codec": chosen.codec}
    params = {
        f"{part}.{name}": array for part in PARTS for name, array in sources[part].parameters(configs[part]).items()
    }
    for part in PARTS:
        print_ignored(sources[part])
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
    """Convert the downloaded files of a released model, given by their names in the card.

    This function is the `jaxsr.hub.resolve.Converter` of released models.
    """
    return convert_files([files[file.name] for file in card.files], folder, preset=card.preset, overwrite=True)


def recognise(sources: Mapping[Part, Source]) -> ModelPreset:
    """Find the preset of a network and an autoencoder by keys and shapes. File names decide between equal layouts.

    Raises:
        ConversionError: if no preset has this layout, or if several have it and no file name decides.
    """
    hint = next((p for p, card in RELEASED.items() if _stem(card, 0) == sources["network"].path.stem), None)
    try:
        layout = (sources["network"].architecture(), sources["codec"].architecture())
    except ConversionError:
        if hint is None:
            raise
        return PRESETS[hint]  # the name identifies the preset, so that the conversion can list everything that differs
    fitting = [name for name in RELEASED if (PRESETS[name].network, PRESETS[name].codec) == layout]
    # The two models for inpainting have one layout: the autoencoder's name decides where the network's name does not.
    fitting = [name for name in fitting if _stem(RELEASED[name], 1) == sources["codec"].path.stem] or fitting
    if len(fitting) == 1 or hint in fitting:
        return PRESETS[hint if hint in fitting else fitting[0]]
    path = sources["network"].path
    if fitting:
        raise ConversionError(
            f"{path}: {', '.join(fitting)} all have this layout and the name of the file is not one of theirs; "
            "say which one it is with --preset."
        )
    if hint:
        return PRESETS[hint]
    raise ConversionError(
        f"{path} and {sources['codec'].path}: no released model has this layout; give --preset NAME to list the "
        f"differences from one of {', '.join(RELEASED)}."
    )


def licence_record(licence: Licence) -> dict[str, str]:
    """Make the record of a licence, with its text, that a checkpoint contains."""
    text = importlib.resources.files("weight_conversion").joinpath("licences/s_lab_1_0.txt").read_text("utf-8")
    if "CC BY-NC-SA 4.0" in licence.name:
        address = "https://creativecommons.org/licenses/by-nc-sa/4.0/legalcode"
        text = f"CC BY-NC-SA 4.0, whose text is at {address}; for what it builds on:\n\n{text}"
    return {"name": licence.name, "url": licence.url, "notice": licence.notice, "text": text}


def _pair(sources: Sequence[Source]) -> dict[Part, Source]:
    parts: dict[Part, Source] = {source.part: source for source in sources}
    missing = [_PART_NAMES[part] for part in PARTS if part not in parts]
    if missing:
        raise ConversionError(f"{sources[0].path}: is only one part; give the file of {' and '.join(missing)} as well.")
    if len(sources) != len(PARTS):
        raise ConversionError(
            f"give exactly two files, one with {_PART_NAMES['network']} and one with {_PART_NAMES['codec']}."
        )
    return parts


def _refuse_foreign(sources: Iterable[Source]) -> None:
    for source in sources:
        if source.foreign:
            raise ConversionError(f"{source.path}: holds {_count_foreign(source)}; leave out --strict to ignore them.")


def _released_name(name: str) -> str:
    """Return the name of the preset that the name of a preset or a model stands for."""
    preset = card.preset if (card := find_card(name)) else name
    if preset not in RELEASED:
        raise ConversionError(f"--preset: unknown model or preset {name!r}; choose one of {', '.join(RELEASED)}.")
    return preset


def _stem(card: ModelCard, index: int) -> str:
    return Path(card.files[index].name).stem


def _check_companion(card: ModelCard, autoencoder: Path) -> None:
    """Refuse an autoencoder that was released for another model. The two f4 autoencoders have the same layout."""
    released = {_stem(other, 1) for other in RELEASED.values()}
    if autoencoder.stem in released - {_stem(card, 1)}:
        raise ConversionError(
            f"{autoencoder}: is not the autoencoder of {card.name}; give {card.files[1].name} instead."
        )
