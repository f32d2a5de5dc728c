"""Sequences of photographs from a folder or a prepared TFDS data set."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jaxsr.data.photographs import RGB, LazyImages, image_sizes, read_rgb
from jaxsr.data.side_by_side import low_names
from jaxsr.errors import install
from jaxsr.imaging.folders import list_images
from jaxsr.imaging.memory import free_memory

MAX_IN_MEMORY = 4 * 10**9
"""Greatest number of bytes of pixels (3 per pixel) for which a folder is held in memory."""
TFDS_FEATURES = {"div2k": "hr", "imagenet2012": "image"}
log = logging.getLogger(__name__)


def open_photographs(data: str, min_size: int = 1) -> list[RGB] | LazyImages:
    """Open the photographs of a folder (`load_folder`) or of `tfds:NAME/SPLIT` (`load_tfds`)."""
    if not data.startswith("tfds:"):
        return load_folder(data, min_size=min_size)
    name, _, split = data.removeprefix("tfds:").rpartition("/")
    return load_tfds(name, split)


def load_folder(path: str | Path, min_size: int = 1) -> list[RGB] | LazyImages:
    """Load all photographs under a folder, in the order of their paths, as upright RGB uint8.

    They are read into memory (a list) if their pixels take up to MAX_IN_MEMORY (4 GB), and half of what is free. A
    larger folder becomes a
    sequence that decodes at each read; `list(load_folder(...))` holds it in memory as well. Images with a side under
    `min_size` pixels are left out, and their number is logged.

    Raises FileNotFoundError if no image is left, and ImageFileError (a ValueError), which names the file, if a file
    cannot be read.
    """
    files = _without_lr(Path(path), list_images(path, recursive=True))
    large = {file: size for file, size in zip(files, image_sizes(files), strict=True) if min(size) >= min_size}
    if not large:
        raise FileNotFoundError(
            f"{path}: no image of at least {min_size} pixels among {len(files)}; name another folder."
        )
    if left_out := len(files) - len(large):
        log.warning("%s: left out %d of %d images, smaller than %d pixels", path, left_out, len(files), min_size)
    free = free_memory()
    most = MAX_IN_MEMORY if free is None else min(MAX_IN_MEMORY, free // 2)
    if sum(3 * width * height for width, height in large.values()) > most:
        return LazyImages(list(large), read_rgb)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(read_rgb, large))


def _without_lr(folder: Path, files: list[Path]) -> list[Path]:
    """Leave out the LR images that lie beside their originals, named NAME_LR4 and NAME_HR; their number is logged."""
    names = {str(file.relative_to(folder).with_suffix("")) for file in files}
    small = low_names(names, 4)
    kept = [file for file in files if str(file.relative_to(folder).with_suffix("")) not in small]
    if left_out := len(files) - len(kept):
        log.warning("%s: left out %d LR images, which lie beside their originals", folder, left_out)
    return kept


def load_tfds(name: str, split: str, data_dir: str | Path | None = None) -> LazyImages:
    """Open the photographs of a prepared TFDS data set, decoded when read.

    `name` is `div2k` or `imagenet2012`, with a config after a slash. The data set is read through `tfds.data_source`,
    without TensorFlow. It must have been prepared as ArrayRecord (`file_format="array_record"`). Use
    `list(load_tfds(...))` to hold it in memory (DIV2K: 7 GB).

    Raises ValueError for another name, ImportError without the packages, FileNotFoundError without the prepared data.
    """
    feature = TFDS_FEATURES.get(name.split("/")[0])
    if feature is None:
        raise ValueError(f"the TFDS data set {name!r} is not supported; choose one of {', '.join(TFDS_FEATURES)}.")
    try:
        import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]

        source: Any = tfds.data_source(name, split=split, data_dir=data_dir, download=False)
    except ImportError as error:
        raise ImportError(f"TFDS data needs two more packages: {install('data')}") from error
    except (KeyError, NotImplementedError) as error:
        raise FileNotFoundError(
            f"{data_dir or 'the default TFDS folder'}: {name} is not prepared there as ArrayRecord; install TensorFlow "
            f"once, with  pip install '.[data]' tensorflow  in a clone of jaxsr, and run  tfds build {name} "
            "--file_format=array_record"
        ) from error
    return LazyImages(source, lambda record: np.asarray(record[feature]))
