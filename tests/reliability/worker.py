"""Read files whose names come on stdin, one a line, and print what became of each: read, refused, or wrong.

    python -m tests.reliability.worker KIND MEMORY

The process may take MEMORY bytes. What is not one sentence of the expected error, with the name of the file, is wrong.
"""

import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def read_image(path: Path) -> None:
    """Read a picture, and write its metadata with a few pixels."""
    import numpy as np

    from jaxsr.imaging.files import read_photo, write_pixels

    photo = read_photo(path)
    assert np.isfinite(photo.rgb).all()
    assert photo.alpha is None or photo.alpha.shape == photo.rgb.shape[:2]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for suffix in (".png", ".jpg", ".tif", ".webp"):
            pixels = np.zeros((2, 2, (1 if photo.grey else 3) + (photo.alpha is not None)), np.uint8)
            write_pixels(Path(folder, f"a{suffix}"), pixels, photo)


def read_checkpoint(path: Path) -> None:
    from jaxsr.torch_files.reader import read_state_dict

    for tensor in read_state_dict(path).values():
        assert tensor.read().shape == tensor.shape


def read_model(path: Path) -> None:
    from jaxsr.upscaling.loading import load

    load(path)


def read_calibration(path: Path) -> None:
    from jaxsr.guidance.calibration_file import Calibration

    Calibration.read(path)


def read_protocol(path: Path) -> None:
    from jaxsr.evaluation.protocol_files import load_protocol

    load_protocol(str(path))


def read_result(path: Path) -> None:
    """Read the result of an evaluation and print it as every kind of table."""
    from jaxsr.evaluation.result import Result
    from jaxsr.evaluation.tables import FORMATS, render

    found = Result.read(path)
    for form in FORMATS:
        render([found], form)
    found.csv()


def read_sidecar(path: Path) -> None:
    """Read a record, and look for its files, as `replay` does; they are not there."""
    from jaxsr.batch.replay import ReplayError, find_record, locate

    found = find_record(path)
    with suppress(ReplayError):
        locate(found)


def read_part(path: Path) -> None:
    """Read the results of a study's image. Damage gives None, and no wrong number."""
    import numpy as np

    from jaxsr.numerics.run import load_part

    if (found := load_part(path)) is None:
        raise ValueError(f"{path}: damaged")
    assert all((found[name] == np.arange(3.0)).all() for name in found), "a damaged number was taken"


def read_journal(path: Path) -> None:
    from jaxsr.runtime.journal import JournalFile

    with JournalFile(path, {"seed": 0}, what="run") as journal:
        assert all(line["values"] == line["same"] for line in journal.found), "a damaged number was taken"


READERS: dict[str, Callable[[Path], None]] = {
    "image": read_image,
    "torch": read_checkpoint,
    "model": read_model,
    "calibration": read_calibration,
    "protocol": read_protocol,
    "result": read_result,
    "sidecar": read_sidecar,
    "journal": read_journal,
    "part": read_part,
}


def outcome(read: Callable[[Path], None], path: Path) -> str:
    try:
        read(path)
    except (ValueError, OSError) as error:
        text = str(error)
        wrong = not text or "\n" in text or len(text) > 1000 or path.name not in text
        return f"wrong: {type(error).__name__} {text[:200]!r}, {len(text)} characters" if wrong else f"refused: {text}"
    except BaseException as error:
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        return f"wrong: {type(error).__name__} {str(error)[:200]!r} at {where}"
    return "read"


def main() -> None:
    read = READERS[sys.argv[1]]
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
    sys.setrecursionlimit(1000)
    print("ready", flush=True)
    for line in sys.stdin:
        print(outcome(read, Path(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
