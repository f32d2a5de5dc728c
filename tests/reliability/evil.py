"""Pickles that would do harm in Python's own `pickle`: sixty pairs of a harmful call and a way to make it.

    python -m tests.reliability.evil FOLDER

reads each of them and prints, as JSON, what became of them, the harmful events that Python's audit hook saw, and the
modules that were imported.
"""

import json
import struct
import sys
import zipfile
from pathlib import Path

CALLS = {
    "os.system": ("posix", "system", "touch {mark}"),
    "subprocess": ("subprocess", "getoutput", "touch {mark}"),
    "eval": ("builtins", "eval", "open({mark!r}, 'w')"),
    "exec": ("builtins", "exec", "open({mark!r}, 'w')"),
    "import": ("builtins", "__import__", "antigravity"),
    "runpy": ("runpy", "run_path", "{script}"),
    "pickle": ("_pickle", "loads", "cposix\nsystem\n(Vtouch {mark}\ntR."),
    "pty": ("pty", "spawn", "true"),
    "ctypes": ("ctypes", "CDLL", "libc.so.6"),
    "torch": ("torch.serialization", "load", "{script}"),
}
MODULES = ("antigravity", "pty", "runpy", "ctypes.util", "torch", "code", "this")
_HARM = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess",
    "pty",
    "ctypes.dlopen",
    "socket",
    "shutil",
    "webbrowser",
)


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def bodies(module: str, name: str, argument: str) -> dict[str, bytes]:
    """Return the opcodes of one call, made in six ways."""
    function, word = f"c{module}\n{name}\n".encode(), _text(argument)
    return {
        "reduce": b"\x80\x02" + function + b"(" + word + b"tR.",
        "stack global": b"\x80\x04" + _text(module) + _text(name) + b"\x93" + b"(" + word + b"tR.",
        "instance": b"(" + word + f"i{module}\n{name}\n".encode() + b".",
        "object": b"(" + function + word + b"o.",
        "new object": b"\x80\x02" + function + b"(" + word + b"t\x81.",
        "state": b"\x80\x02" + function + b"(}" + word + b"tb.",
    }


def write_all(folder: Path) -> dict[str, Path]:
    """Write every pickle as the `data.pkl` of a checkpoint, and the bare bytes of each as a file of their own."""
    mark, script = folder / "mark", folder / "evil.py"
    script.write_text(f"open({str(mark)!r}, 'w')")
    written = {}
    for call, (module, name, argument) in CALLS.items():
        for way, body in bodies(module, name, argument.format(mark=str(mark), script=str(script))).items():
            path = folder / f"{call}-{way}.pth".replace(" ", "-")
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", body)
                archive.writestr("archive/version", "3\n")
            bare = path.with_suffix(".ckpt")
            bare.write_bytes(body)
            written |= {path.name: path, bare.name: bare}
    return written


def main() -> None:
    from jaxsr.torch_files.numpy_pickle import read_arrays
    from jaxsr.torch_files.reader import read_state_dict

    folder, events = Path(sys.argv[1]), []
    files = write_all(folder)
    before = set(sys.modules)
    sys.addaudithook(lambda event, args: events.append(event) if event.startswith(_HARM) else None)
    outcomes = {}
    for name, path in files.items():
        for read in (read_state_dict, read_arrays) if name.endswith(".ckpt") else (read_state_dict,):
            try:
                read(path)
                outcomes[f"{name} {read.__name__}"] = "read"
            except ValueError as error:
                outcomes[f"{name} {read.__name__}"] = str(error)
    new = sorted(set(sys.modules) - before)
    print(json.dumps({"outcomes": outcomes, "events": events, "modules": new}))


if __name__ == "__main__":
    main()
