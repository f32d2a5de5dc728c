"""Check files that are to be committed: python .ci/check_files.py FILE...

A file may have 4 MB at most (a bundled model 16 MB; LPIPS and one golden network 6 MB). Text may not hold an absolute
path of one machine. In Markdown, a line of prose may have 120 characters at most. Fenced code blocks, tables, and lines
that hold only one link may be longer.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LIMIT = 4_000_000
LIMITS = {
    "jaxsr/assets/tiny-x4/model.safetensors": 16_000_000,
    "jaxsr/assets/photo-x4/model.safetensors": 16_000_000,
    "jaxsr/assets/perceptual/lpips-alex/model.safetensors": 6_000_000,
    "tests/parity/golden/unet_sr.pth": 6_000_000,
}
# Folders of users, not parts of addresses (host/home/x) or of longer paths; /home/me and /home/user are examples.
OWN_PATH = re.compile(rb"(?<![\w.~*/-])(?:/(?:root/|work/|Users/\w|home/(?!me\b|user\b)\w)|[A-Z]:\\Users\\\w)")
PROSE_WIDTH = 120
FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)")
# A row of a table, or one link, image or address alone, perhaps after a list mark: none of these can be wrapped.
UNWRAPPABLE = re.compile(r"\s*(\||([-*+>]|\d+[.)])?\s*!?(\[[^]]*\](\(|:\s+))?\S+$)")


def problems(path: Path) -> list[str]:
    """List what keeps a file from being committed, one sentence each."""
    data = path.read_bytes()
    limit = LIMITS.get(path.as_posix(), LIMIT)
    found = [f"{path}: {len(data)} bytes, the limit is {limit}"] if len(data) > limit else []
    if b"\0" not in data[:8192]:
        found += [
            f"{path}:{number}: a path of one machine: {line.strip().decode(errors='replace')[:80]}"
            for number, line in enumerate(data.splitlines(), 1)
            if OWN_PATH.search(line)
        ]
    if path.suffix == ".md":
        found += [
            f"{path}:{number}: a line of {length} characters, the limit is {PROSE_WIDTH}: wrap it"
            for number, length in long_prose(data)
        ]
    return found


def long_prose(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the number and the length of every line of Markdown prose that is too long."""
    fence = ""
    for number, line in enumerate((line.decode(errors="replace") for line in data.splitlines()), 1):
        if mark := FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif not fence and len(line) > PROSE_WIDTH and not UNWRAPPABLE.match(line):
            yield number, len(line)


def main(paths: list[str]) -> int:
    found = [problem for path in map(Path, paths) if path.is_file() for problem in problems(path)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
