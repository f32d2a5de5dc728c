"""The memory that this process can still take, asked before a picture is decoded or a result is allocated.

The system ends a process that takes more than there is, and with it all pictures that wait for their turn.
"""

from pathlib import Path

from jaxsr.imaging.pixels import ImageFileError

_UNLIMITED = 1 << 60  # control groups say "no limit" with a number of this kind too


def free_memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes this process can still take; None where the system does not say, as outside of Linux.

    It is the least of the machine's available memory, what the limits of the process's control groups leave, and what
    the limit of its address space leaves (`ulimit -v`). `root` holds the folders `proc` and `sys`.
    """
    found = [_available(root / "proc/meminfo"), *_left_in_groups(root), _left_of_address_space(root)]
    return min((number for number in found if number is not None), default=None)


def check_memory(needed: int, what: str, source: str) -> None:
    """Raise ImageFileError if `needed` bytes are more than this process can take. `what` takes them."""
    free = free_memory()
    if free is not None and needed > free:
        raise ImageFileError(
            f"{source}: {what} needs about {needed / 1e9:.2g} GB of memory, but {max(free, 0) / 1e9:.2g} GB are free; "
            "cut the picture into parts, or give it more memory"
        )


def decoding_bytes(width: int, height: int, channels: int, itemsize: int) -> int:
    """Estimate the most bytes that reading a picture takes: its pixels, floats of them, and a decoder's own.

    Measured without the bytes of the file: 15 to 27 bytes per pixel for RGB of 8 or 16 bits, 18 for grey, 32 to 42 with
    alpha, 35 for the planes of a TIFF.
    """
    spread = 0 if channels == 3 else 16  # grey becomes three channels, alpha becomes an array of its own
    return width * height * (channels * (4 + itemsize) + spread + 12)


def _available(file: Path) -> int | None:
    for line in _lines(file):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None


def _left_in_groups(root: Path) -> list[int | None]:
    """List what each control group of this process leaves, and those above it, of version 1 or 2."""
    left: list[int | None] = []
    for line in _lines(root / "proc/self/cgroup"):
        kinds, path = line.split(":", 2)[1:]
        if kinds == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        here = base / path.strip("/")
        left += [_left_in(folder, *names) for folder in (here, *here.parents) if folder.is_relative_to(base)]
    return left


def _left_in(folder: Path, most: str, used: str, reclaimable: str) -> int | None:
    limit, now = (_number(folder / name) for name in (most, used))
    if limit is None or now is None or limit >= _UNLIMITED:
        return None
    stats = (line.split() for line in _lines(folder / "memory.stat"))
    return limit - now + sum(int(words[1]) for words in stats if words[0] == reclaimable)


def _left_of_address_space(root: Path) -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or not (words := _lines(root / "proc/self/statm")):
        return None
    return limit - int(words[0].split()[0]) * resource.getpagesize()


def _number(file: Path) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
