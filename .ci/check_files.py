"""Check files that are to be committed: python .ci/check_files.py FILE...

A file may have 4 MB at most (the bundled model 16 MB, one golden network 6 MB), and text may not hold an absolute path
of somebody's machine.
"""

import re
import sys
from pathlib import Path

LIMIT = 4_000_000
LIMITS = {"jaxsr/assets/tiny-x4/model.safetensors": 16_000_000, "tests/parity/golden/unet_sr.pth": 6_000_000}
# Folders of users, not parts of addresses (host/home/x) or of longer paths; /home/me and /home/user are examples.
OWN_PATH = re.compile(rb"(?<![\w.~*/-])(?:/(?:root/|work/|Users/\w|home/(?!me\b|user\b)\w)|[A-Z]:\\Users\\\w)")


def problems(path: Path) -> list[str]:
    """What keeps a file from being committed, one sentence each."""
    data = path.read_bytes()
    limit = LIMITS.get(path.as_posix(), LIMIT)
    found = [f"{path}: {len(data)} bytes, the limit is {limit}"] if len(data) > limit else []
    if b"\0" not in data[:8192]:
        found += [
            f"{path}:{number}: a path of one machine: {line.strip().decode(errors='replace')[:80]}"
            for number, line in enumerate(data.splitlines(), 1)
            if OWN_PATH.search(line)
        ]
    return found


def main(paths: list[str]) -> int:
    found = [problem for path in map(Path, paths) if path.is_file() for problem in problems(path)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
