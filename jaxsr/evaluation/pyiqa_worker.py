"""A program that scores files with pyiqa, in the interpreter that has pyiqa. It imports nothing from jaxsr.

`jaxsr.evaluation.external` runs this file. It reads one JSON object from stdin and prints one JSON object per event to
stdout; all other output goes to stderr.
"""

import os
import sys

if __name__ == "__main__":  # the modules of this folder must not hide others of the same name
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != os.path.dirname(os.path.abspath(__file__))]

import hashlib
import importlib.metadata
import json
import random
import shutil
import tempfile

PACKAGES = ("pyiqa", "torch", "torchvision", "timm", "numpy")


def main():
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # pyiqa's own output must not mix with the events
    sys.stdout = sys.stderr

    def emit(**event):
        print(json.dumps(event), file=out, flush=True)

    request = json.load(sys.stdin)
    try:
        import pyiqa  # pyright: ignore[reportMissingImports]
    except Exception as error:  # a broken installation may raise any exception
        emit(missing=sentence(error))
        return
    emit(versions={**versions(), **fix_torch()})
    for metric in request["metrics"]:
        try:
            score(pyiqa, metric, request["pairs"], emit)
        except Exception as error:
            emit(metric=metric["name"], failed=sentence(error))


def score(pyiqa, metric, pairs, emit):
    """Score all files, or the two sets of files, by one metric."""
    name = metric["name"]
    model = pyiqa.create_metric(metric["metric"], **metric["options"])
    emit(metric=name, lower_is_better=getattr(model, "lower_better", None), weights_sha256=weights_sha256(model))
    if metric["of_sets"]:
        with tempfile.TemporaryDirectory() as folder:
            folders = [link_all([pair[k] for pair in pairs], os.path.join(folder, str(k))) for k in (0, 1)]
            reseed()
            emit(metric=name, set_score=float(model(*folders)))
    else:
        for index, (pred, target) in enumerate(pairs):
            reseed()
            try:
                value = float(model(pred, target) if metric["needs_target"] else model(pred))
                emit(metric=name, index=index, score=value)
            except Exception as error:  # one unreadable image must not lose the others
                emit(metric=name, index=index, problem=sentence(error))
    emit(metric=name, finished=True)


def link_all(files, folder):
    """Link the files into a folder of their own, because pyiqa takes sets as folders."""
    os.makedirs(folder)
    for index, file in enumerate(files):
        link = os.path.join(folder, f"{index:06d}{os.path.splitext(file)[1]}")
        try:
            os.symlink(file, link)
        except OSError:
            shutil.copyfile(file, link)
    return folder


def versions():
    numbers = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            numbers[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return numbers


def fix_torch():
    """Make torch use full float32 and repeatable kernels. Return the device that pyiqa takes by default."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return {"device": "cuda" if torch.cuda.is_available() else "cpu"}


def reseed():
    """Reset all seeds before each file, so that metrics with random crops do not depend on the other files."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def weights_sha256(model):
    """Hash all names and values in the metric's state; None if the state is empty."""
    state = model.state_dict() if hasattr(model, "state_dict") else {}
    if not state:
        return None
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.double().numpy().tobytes())
    return digest.hexdigest()


def sentence(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    main()
