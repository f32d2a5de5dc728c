"""Check this installation and prove that the quality control works on this machine: jaxsr doctor"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from jaxsr.cli.exits import exit_code, say
from jaxsr.cli.parser import Parser, program
from jaxsr.cli.shared_options import add_model
from jaxsr.errors import EXPECTED, install

_PACKAGES = ("jaxsr", "jax", "jaxlib", "flax", "numpy", "scipy", "pillow", "imagecodecs", "tifffile", "safetensors")
_LITTLE_SPACE = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `ok`, `note` (works, but the user should know), or `fail`."""

    name: str
    status: Literal["ok", "note", "fail"]
    text: str


Check = Callable[[argparse.Namespace], Iterator[Finding]]


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options. It does not import JAX."""
    text = "exit code: 0 nothing failed, 1 something failed, 2 wrong usage"
    parser = Parser(prog=program("doctor"), description=__doc__, epilog=text, allow_abbrev=False)
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return 0 if nothing failed, else 1."""
    args = make_parser().parse_args(argv)
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    findings = []
    for check in CHECKS:
        for found in _findings(check, args):
            findings.append(found)
            if not args.json:
                say(f"{found.status:4} {found.name:10} {found.text}")
    failed = [found.name for found in findings if found.status == "fail"]
    if args.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(found) for found in findings]}, indent=1))
    else:
        say(f"{'failed: ' + ', '.join(failed) if failed else 'nothing failed'}")
    return 1 if failed else 0


def _findings(check: Check, args: argparse.Namespace) -> list[Finding]:
    """Make a check. What it raises is a finding too, so that the others are made."""
    try:
        return list(check(args))
    except (*EXPECTED, RuntimeError) as error:
        name = check.__name__.removeprefix("_check_")
        return [Finding(name, "fail", f"{type(error).__name__}: {error}")]


def _check_versions(args: argparse.Namespace) -> Iterator[Finding]:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    missing = [word for word in found if word.endswith(" missing") and not word.startswith("jaxsr ")]
    yield Finding("versions", "fail" if missing else "ok", ", ".join(found))


def _check_machine(args: argparse.Namespace) -> Iterator[Finding]:
    from jaxsr.imaging.memory import free_memory
    from jaxsr.runtime.cpu import fast_bfloat16, processor

    free = free_memory()
    memory = "unknown memory" if free is None else f"{free / 1e9:.1f} GB of memory free"
    bf16 = "fast at bfloat16" if fast_bfloat16() else "not fast at bfloat16"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    status = "note" if free is not None and free < _LITTLE_SPACE else "ok"
    text = f"{platform.system()} {platform.machine()}, {processor()}, {cores} cores, {bf16}, {memory}"
    yield Finding("machine", status, text)


def _check_devices(args: argparse.Namespace) -> Iterator[Finding]:
    import jax

    devices = jax.devices()
    kinds = ", ".join(sorted({device.device_kind for device in devices}))
    yield Finding("devices", "ok", f"{len(devices)} of the backend {jax.default_backend()}: {kinds}")
    if jax.default_backend() == "cpu" and Path("/proc/driver/nvidia/version").exists():
        yield Finding("devices", "note", f"there is an NVIDIA driver, but JAX uses the CPU: {install('cuda12')}")


def _check_onednn(args: argparse.Namespace) -> Iterator[Finding]:
    import jax

    from jaxsr.runtime import onednn

    if jax.default_backend() != "cpu":
        yield Finding("onednn", "ok", "is for CPUs")
    elif os.environ.get("JAXSR_ONEDNN") == "off":
        yield Finding("onednn", "note", "is off, by JAXSR_ONEDNN")
    elif onednn.usable():
        yield Finding("onednn", "ok", "a trial call computes exactly; wide networks use it where no cache is kept")
    else:
        yield Finding("onednn", "note", "cannot be used with this jaxlib; XLA's own kernels are used, which are slower")


def _check_cache(args: argparse.Namespace) -> Iterator[Finding]:
    from jaxsr.runtime.compilation import try_folder
    from jaxsr.storage import cache_dir

    if os.environ.get("JAXSR_CACHE") == "off":
        yield Finding("cache", "note", "compiled programs are not kept, by JAXSR_CACHE")
        return
    folder = cache_dir() / "xla"
    try:
        try_folder(folder)
    except OSError as error:
        yield Finding("cache", "note", f"{folder}: {error.strerror}; set JAXSR_CACHE_DIR to a folder of yours")
        return
    kept = (folder, cache_dir() / "lowered")
    files = [path for root in kept for path in root.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    yield Finding("cache", "ok", f"{cache_dir()}: {len(files)} files, {size / 1e6:.0f} MB of programs")


def _check_models(args: argparse.Namespace) -> Iterator[Finding]:
    from jaxsr.hub.cards import known_models
    from jaxsr.hub.checkpoint import FILE_NAME
    from jaxsr.hub.resolve import resolve
    from jaxsr.storage import cache_dir, sha256_file
    from jaxsr.upscaling.knob_presets import FILES

    absent = []
    for card in known_models():
        if not card.bundled and not (cache_dir() / card.name / FILE_NAME).exists():
            absent.append(card.name)
            continue
        path = resolve(card.name, accept_license=True)
        sha256 = sha256_file(path)
        made_for = {json.loads(file.read_bytes())["model_sha256"] for file in path.parent.glob(FILES)}
        whole = not card.bundled or made_for == {sha256}
        text = f"{card.name}: {path.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256[:12]}..."
        yield Finding("models", "ok" if whole else "fail", text if whole else f"{text}; damaged: install jaxsr again")
    yield Finding("models", "ok", f"downloaded when they are named: {', '.join(absent) or 'none'}")


def _check_weights(args: argparse.Namespace) -> Iterator[Finding]:
    from jaxsr.metrics.perceptual_cards import CARDS
    from jaxsr.metrics.perceptual_files import load_perceptual, present_path

    present = [name for name in CARDS if present_path(name)]
    for name in present:
        load_perceptual(name)
    absent = ", ".join(name for name in CARDS if name not in present)
    status = "ok" if "lpips-alex" in present else "note"
    yield Finding(
        "weights", status, f"metrics: {', '.join(present) or 'none'}; downloaded when used: {absent or 'none'}"
    )


def _check_knob(args: argparse.Namespace) -> Iterator[Finding]:
    from jaxsr.hub.cards import check_can_run
    from jaxsr.runtime.compilation import enable_compilation_cache
    from jaxsr.upscaling.knob_trial import try_knob
    from jaxsr.upscaling.loading import load

    check_can_run(args.model, mask=False)
    upscaler = load(args.model, accept_license=args.accept_license)
    enable_compilation_cache(upscaler.preset.network.model_channels)
    trial = try_knob(upscaler)
    residuals = ", ".join(f"{a:g}: {r:.2f}" for a, r in zip(trial.alphas, trial.residuals, strict=True))
    facts = f"{args.model}: distance from the input by alpha {residuals} grey levels"
    if problems := trial.problems:
        yield Finding("knob", "fail", f"{'; '.join(problems)} ({facts})")
    else:
        yield Finding("knob", "ok", f"{facts}; alpha 0 is the plain sampler bit by bit; all numbers finite")


CHECKS: tuple[Check, ...] = (
    _check_versions,
    _check_machine,
    _check_devices,
    _check_onednn,
    _check_cache,
    _check_models,
    _check_weights,
    _check_knob,
)
