"""What clients have uploaded and what was made for them: ids that nobody can guess, and files in a folder of our own.

The folder lies in the system's place for temporary files, holds nothing with a name from a client, and disappears with
the process. What a killed process left is removed by the next one.
"""

import re
import secrets
import shutil
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from jaxsr.batch.decoder import DecoderProcess
from jaxsr.imaging.decode import is_avif
from jaxsr.imaging.files import READ, Photo, hash_photo
from jaxsr.imaging.pixels import ImageFileError
from jaxsr.studio.views import View, make_view

MOST_PHOTOS = 12
MOST_FILES = 48
MOST_RESULTS = 24
_NAME = 120  # characters of a shown name
_KINDS = {
    b"\xff\x0a": ".jxl",
    b"\0\0\0\x0cJXL ": ".jxl",
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"BM": ".bmp",
    b"GIF8": ".gif",
    b"II": ".tif",
    b"MM": ".tif",
}
T = TypeVar("T")


class NotFoundError(ValueError):
    """An id that is unknown, or whose photograph, file or job has been removed."""


@dataclass(frozen=True, eq=False)
class StoredPhoto:
    """An uploaded photograph.

    Attributes:
        id: its id.
        name: name of the client's file, for showing only.
        path: our file.
        sha256: hash of its bytes.
        depth, grey, transparent, lost: see `jaxsr.imaging.files.Photo`.
        view: the photograph as a browser shows it.
    """

    id: str
    name: str
    path: Path
    sha256: str
    depth: int
    grey: bool
    transparent: bool
    lost: tuple[str, ...]
    view: View


@dataclass(frozen=True, eq=False)
class StoredFile:
    """An uploaded alpha map, mask or reference: its id, shown name, our file, and (width, height)."""

    id: str
    name: str
    path: Path
    size: tuple[int, int]


@dataclass(eq=False)
class Shelf(Generic[T]):
    """Things by their ids, of which the oldest is removed when there are too many.

    Attributes:
        what: what an error calls one of them.
        most: how many are kept.
        remove: called with a removed one.
        busy: says which of them must stay.
    """

    what: str
    most: int
    remove: Callable[[T], None]
    busy: Callable[[T], bool] = lambda _: False
    things: "OrderedDict[str, T]" = field(default_factory=OrderedDict)

    def add(self, key: str, thing: T) -> None:
        """Keep a thing, and remove the oldest ones that are too many."""
        self.things[key] = thing
        spare = [old for old in self.things if old != key and not self.busy(self.things[old])]
        for old in spare[: max(len(self.things) - self.most, 0)]:
            self.take(old)

    def find(self, key: str) -> T:
        """Return a thing, which is then the newest. Raises NotFoundError for an unknown id."""
        if key not in self.things:
            raise NotFoundError(f"there is no {self.what} {key[:40]!r}; it has been removed, or never was.")
        self.things.move_to_end(key)
        return self.things[key]

    def take(self, key: str) -> None:
        """Remove a thing. Raises NotFoundError for an unknown id."""
        self.find(key)
        self.remove(self.things.pop(key))


class Store:
    """The uploaded photographs and files. Its methods may be called from several threads.

    Args:
        folder: our folder.
        most_pixels: pictures of more pixels are refused before they are decoded.
    """

    def __init__(self, folder: Path, most_pixels: int) -> None:
        self.folder = folder
        self.photos: Shelf[StoredPhoto] = Shelf("photo", MOST_PHOTOS, lambda photo: delete(photo.path.parent))
        self.files: Shelf[StoredFile] = Shelf("file", MOST_FILES, lambda file: delete(file.path.parent))
        self._decoder, self._lock, self._decoding = DecoderProcess(most_pixels), threading.Lock(), threading.Lock()

    def read(self, path: Path) -> Photo:
        """Decode one of our files in a process of its own. Raises ImageFileError."""
        with self._decoding:
            return self._decoder.read(path)

    def add_photo(self, name: str, data: bytes) -> StoredPhoto:
        """Keep an uploaded photograph. Raises ImageFileError, naming it as the client does, if it cannot be read."""
        folder, shown = self.new_folder(), clean_name(name, data)
        try:
            path = folder / f"photo{suffix_of(shown)}"
            path.write_bytes(data)
            photo = self._read_as(path, shown)
            pixels = photo.rgb[..., :1] if photo.grey else photo.rgb
            if photo.alpha is not None:
                pixels = np.concatenate([pixels, photo.alpha[..., None]], axis=-1)
            facts = (hash_photo(path), photo.depth, photo.grey, photo.alpha is not None, photo.lost)
            view = make_view(folder / "view", pixels, photo.icc)
            found = StoredPhoto(folder.name, shown, path, *facts, view)
        except BaseException:
            delete(folder)
            raise
        with self._lock:
            self.photos.add(found.id, found)
        return found

    def add_file(self, name: str, data: bytes) -> StoredFile:
        """Keep an uploaded alpha map, mask or reference. Raises ImageFileError as `add_photo` does."""
        folder, shown = self.new_folder(), clean_name(name, data)
        try:
            path = folder / f"file{suffix_of(shown)}"
            path.write_bytes(data)
            height, width, _ = self._read_as(path, shown).rgb.shape
        except BaseException:
            delete(folder)
            raise
        with self._lock:
            self.files.add(folder.name, StoredFile(folder.name, shown, path, (width, height)))
            return self.files.find(folder.name)

    def close(self) -> None:
        """End the decoder's process."""
        self._decoder.close()

    def new_folder(self) -> Path:
        """Make a folder with a new id as its name."""
        folder = self.folder / new_id()
        folder.mkdir(parents=True)
        return folder

    def _read_as(self, path: Path, shown: str) -> Photo:
        try:
            return self.read(path)
        except ImageFileError as error:
            raise ImageFileError(str(error).replace(str(path), shown)) from error


def new_id() -> str:
    """Make an id of 128 random bits, which begins with a letter, so that no program takes it for an option."""
    return f"i{secrets.token_urlsafe(16)}"


def clean_name(name: str, data: bytes) -> str:
    """Make a client's name of a file safe to show: its last part, in visible characters, with a known extension.

    It never becomes a path of this machine. An unknown extension gives way to that of the content.
    """
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join(char for char in last if unicodedata.category(char)[0] != "C" and char not in "\u2028\u2029")
    stem, dot, ending = visible.strip().rpartition(".")
    if not dot or f".{ending.lower()}" not in READ:
        stem, ending = visible.strip(), suffix_by_content(data)[1:]
    return f"{stem.lstrip('.-~ ')[:_NAME] or 'photo'}.{ending}"


def suffix_of(name: str) -> str:
    """Return the extension of a clean name, in lower case; it is one of those that are read."""
    return Path(name).suffix.lower()


def suffix_by_content(data: bytes) -> str:
    """Return the extension for the first bytes of a file."""
    if data[:4] == b"RIFF":
        return ".webp"
    if data[4:8] == b"ftyp":
        return ".avif" if is_avif(data) else ".heic"
    return next((suffix for head, suffix in _KINDS.items() if data.startswith(head)), ".png")


def delete(folder: Path) -> None:
    """Remove a folder of ours with all it holds."""
    shutil.rmtree(folder, ignore_errors=True)
