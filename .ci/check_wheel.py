"""Check a built wheel: python .ci/check_wheel.py WHEEL

The wheel must hold the bundled models, `py.typed` and the licences, and nothing besides the two packages, and stay
small. Every module is imported from the wheel in a fresh interpreter. None may even try to import TensorFlow or
PyTorch.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NEEDED = (
    "jaxsr/assets/compare/page.html",
    "jaxsr/assets/niqe.npz",
    "jaxsr/assets/perceptual/LICENSES.txt",
    "jaxsr/assets/perceptual/lpips-alex/model.safetensors",
    "jaxsr/assets/perceptual/model.safetensors",
    "jaxsr/assets/photo-x4/CREDITS.tsv",
    "jaxsr/assets/photo-x4/calibration-ancestral-4.json",
    "jaxsr/assets/photo-x4/model.safetensors",
    "jaxsr/assets/tiny-x4/calibration-ancestral-4.json",
    "jaxsr/assets/tiny-x4/model.safetensors",
    "jaxsr/evaluation/protocols/paper-table2.json",
    "jaxsr/py.typed",
    "jaxsr/studio/static/app.js",
    "jaxsr/studio/static/sample.png",
    "jaxsr/studio/static/index.html",
    "jaxsr/studio/static/login.html",
    "jaxsr/studio/static/style.css",
    "weight_conversion/licences/s_lab_1_0.txt",
)
LIMIT = 32_000_000
HEAVY = ("tensorflow", "torch")

# This program gets the folder of the unpacked wheel. Its finder finds nothing, but sees each first import of a module.
IMPORT_ALL = f"""
import importlib, pkgutil, sys, traceback

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in {HEAVY}:
            print("".join(traceback.format_stack(limit=20)))
            tried.append(name)

tried = []
sys.meta_path.insert(0, Watch())
sys.path.insert(0, sys.argv[1])
import jaxsr
assert jaxsr.__file__.startswith(sys.argv[1]), f"{{jaxsr.__file__}} is not from the wheel"
import weight_conversion
roots = (jaxsr, weight_conversion)
names = [m.name for root in roots for m in pkgutil.walk_packages(root.__path__, root.__name__ + ".")]
for name in names:
    importlib.import_module(name)
assert not tried, f"a module tries to import {{' and '.join(sorted(set(tried)))}}"
print(f"imported {{len(names)}} modules")
"""


def content_problems(wheel: zipfile.ZipFile) -> list[str]:
    """List what the wheel lacks, and what it holds but should not, one line each."""
    names = wheel.namelist()
    problems = [f"lacks {name}" for name in NEEDED if name not in names]
    problems += [
        f"lacks its {name}" for name in ("LICENSE", "NOTICE") if not any(n.endswith(f"/{name}") for n in names)
    ]
    if not any(n.endswith(".dist-info/entry_points.txt") for n in names):
        problems.append("lacks the script jaxsr")
    (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
    relative = re.findall(r"\]\((?!https:)([^)]*)\)", wheel.read(metadata).decode())
    problems += [f"links to {link} in its description, which an index does not have" for link in relative]
    problems += [
        f"holds {name}, which belongs to neither package"
        for name in names
        if not re.match(r"(jaxsr(-[^/]+\.dist-info)?|weight_conversion)/", name)
    ]
    return problems


def main(path: Path) -> int:
    problems = [] if path.stat().st_size < LIMIT else [f"has {path.stat().st_size} bytes, the limit is {LIMIT}"]
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as wheel:
        problems += content_problems(wheel)
        wheel.extractall(folder)
        if subprocess.run([sys.executable, "-c", IMPORT_ALL, folder], cwd=folder).returncode:
            problems.append("does not import cleanly (see above)")
    for problem in problems:
        print(f"error: {path.name} {problem}")
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
