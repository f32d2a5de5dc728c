"""Loading brings a model from its name, folder or file into memory, as an upscaler."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from jaxsr.hub import checkpoint
from jaxsr.hub.cards import DEFAULT_MODEL, ModelCard
from jaxsr.hub.resolve import resolve
from jaxsr.models.model import Model
from jaxsr.models.presets import preset_from_dict
from jaxsr.runtime.lowered import kept_json
from jaxsr.storage import sha256_file
from jaxsr.upscaling.upscaler import Upscaler


def load(name_or_path: str | Path = DEFAULT_MODEL, *, accept_license: bool = False) -> Upscaler:
    """Load a model into memory, by its registered name (see `jaxsr.hub.cards`) or by the path of a checkpoint.

    The commands cache most compiled programs between runs. To do the same in Python, call
    `jaxsr.runtime.compilation.enable_compilation_cache` before the first computation (`sample` and `replay` also keep
    what comes before the compilation, see `jaxsr.runtime.lowered`). Without this call, programs on a CPU may call
    oneDNN (see `jaxsr.runtime.onednn`), and are not cached.

    Raises:
        ValueError, OSError: for an unknown name, a licence that was not accepted, or an unreadable file.
    """
    path = resolve(name_or_path, accept_license=accept_license, convert=_convert)
    file = path / checkpoint.FILE_NAME if path.is_dir() else path
    stored, metadata = checkpoint.load(file, dtype=np.float32)
    try:
        preset = preset_from_dict(metadata.get("preset", {}))
    except ValueError as error:
        raise checkpoint.CheckpointError(f"{file}: {error}") from error
    shapes = kept_json(f"shapes {preset}", Model(preset).shapes)
    checkpoint.check_params(stored, {name: tuple(shape) for name, shape in shapes.items()}, source=file)
    return Upscaler(preset, jax.device_put(stored), file, sha256_file(file))


def _convert(card: ModelCard, files: Mapping[str, Path], folder: Path) -> Path:
    from weight_conversion.convert import convert_card  # needed only once per released model

    return convert_card(card, files, folder)
