"""The image files in folders: which are read, and which are left out with a note."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxsr.imaging.files import READ
from jaxsr.imaging.pixels import ImageFileError

# Images that we do not read; a folder's are counted, so that nobody misses them.
_UNREAD_WORDS = (
    "3fr arw avifs bay btf cap cr2 cr3 crw cur dcm dcr dcs dds dng dpx drf eip emf eps erf exr fff fits gpr hdr heics "
    "icns ico iiq j2c j2k jls jp2 jpf jpm jps jpx jxr k25 kdc mdc mef mos mrw nef nrw orf pam pbm pcx pef pfm pgm pnm "
    "ppm psb psd ptx pxn qoi raf raw rw2 rwl rwz sgi sr2 srf srw svg tf8 tga wbmp wdp wmf x3f xbm xcf xpm"
)
_UNREAD = frozenset(f".{word}" for word in _UNREAD_WORDS.split())
IMAGES = _UNREAD | {*READ}
"""Extensions of images, of types that we read or write and others."""
_SHOWN_LINKS = 3


def list_images(root: str | os.PathLike[str], recursive: bool) -> list[Path]:
    """List the image files in a folder (with recursive=True, also below it), sorted, without hidden files and folders.

    The extension, in upper or lower case, decides which files are images. Links to folders are followed, to each folder
    once. Raises ImageFileError if root is not a folder.
    """
    return sorted(path for path in _walk(Path(root), recursive) if path.suffix.lower() in READ)


def left_out(roots: Iterable[str | os.PathLike[str]], recursive: bool) -> str | None:
    """Return a sentence about the images in folders that are not read; None without any.

    These are types that we do not read, which it counts by extension, and links to files that do not exist.
    """
    counts, broken, parts = Counter[str](), list[Path](), list[str]()
    for root in roots:
        for path in _walk(Path(root), recursive, links=True) if Path(root).is_dir() else ():
            suffix = path.suffix.lower()
            if suffix in IMAGES and not path.is_file():
                broken.append(path)
            elif suffix in _UNREAD:
                counts[suffix] += 1
    if counts:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        parts.append(f"{counts.total()} image{'s' * (counts.total() > 1)} of types that are not read: {kinds}")
    if broken:
        shown = ", ".join(map(str, sorted(broken)[:_SHOWN_LINKS])) + ", ..." * (len(broken) > _SHOWN_LINKS)
        what = "links whose files do not exist" if len(broken) > 1 else "link whose file does not exist"
        parts.append(f"{len(broken)} {what}: {shown}")
    return f"left out {'; and '.join(parts)}" if parts else None


def _walk(root: Path, recursive: bool, *, links: bool = False) -> Iterator[Path]:
    """Yield the files in a folder, and below it, that are not hidden, with `links` also links to nothing.

    Pipes and devices are no files.
    """
    if not root.is_dir():
        problem = "not a folder" if root.exists() else "no such folder"
        raise ImageFileError(f"{root}: {problem}; give the folder that holds the images")
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and (path.is_file() or (links and path.is_symlink() and not path.exists())):
                yield path
        seen.add(_identity(folder))
        visible, folders[:] = [name for name in sorted(folders) if not name.startswith(".")], []
        for name in visible if recursive else ():
            if (key := _identity(os.path.join(folder, name))) not in seen:
                seen.add(key)
                folders.append(name)


def _identity(folder: str) -> tuple[int, int] | str:
    """Return what is the same for all names of a folder."""
    try:
        status = os.stat(folder)
    except OSError:
        return folder
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)
