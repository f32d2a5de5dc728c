"""Whole files of every kind that this project reads, small, to be damaged."""

import json
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

from jaxsr.batch.request import Request, SourceFile
from jaxsr.hub import checkpoint
from jaxsr.models.model import Model
from jaxsr.numerics.run import save_part
from jaxsr.options import Options
from jaxsr.runtime.journal import JournalFile
from tests.evaluation.test_tables import result
from tests.imaging import image_zoo as zoo
from tests.torch_files.files import write_legacy, write_pth
from tests.training.tiny_run import PIXEL

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "jaxsr/assets/tiny-x4"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'


def _picture(channels: int, dtype: Any = np.uint8) -> np.ndarray:
    """Return smooth pixels with a little noise, so that they compress as photographs do."""
    rng, (y, x) = np.random.default_rng(channels), np.mgrid[:24, :32]
    waves = [np.sin(x / (3 + k)) + np.cos(y / (4 + k)) + 0.1 * rng.normal(size=x.shape) for k in range(channels)]
    values = (np.stack(waves, -1) - np.min(waves)) / np.ptp(waves)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def _pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _tiff(pixels: np.ndarray, photometric: str, **options: Any) -> bytes:
    stream = BytesIO()
    whole = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    with tifffile.TiffWriter(stream, **whole) as writer:
        writer.write(pixels, photometric=photometric, **options)
    return stream.getvalue()


def images(folder: Path) -> dict[str, bytes]:
    """Return pictures of every format, mode and depth, many with metadata."""
    rgb, rgba, grey = (Image.fromarray(_picture(n)) for n in (3, 4, 3))
    grey, exif = grey.convert("L"), Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8298] = 6, "maker", "somebody"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    meta = {"exif": exif.tobytes(), "icc_profile": icc}
    deep, deep_grey = _picture(3, np.uint16), _picture(1, np.uint16)
    chunks = ((b"gAMA", (45455).to_bytes(4)), (b"cHRM", bytes(32)), (b"cICP", bytes([9, 16, 0, 1])))
    found = {
        "rgb.png": _pillow(rgb, "PNG", **meta, dpi=(300, 300)),
        "rgba.png": _pillow(rgba, "PNG"),
        "grey.png": _pillow(grey, "PNG"),
        "palette.png": _pillow(rgb.quantize(16), "PNG", transparency=3),
        "one.png": _pillow(grey.convert("1"), "PNG"),
        "deep.png": zoo.png(deep, 4, interlaced=True, chunks=chunks),
        "deep_grey.png": zoo.png(deep_grey),
        "rgb.jpg": _pillow(rgb, "JPEG", **meta, xmp=XMP, comment="a comment"),
        "progressive.jpg": _pillow(rgb, "JPEG", progressive=True, subsampling=2),
        "grey.jpg": _pillow(grey, "JPEG"),
        "cmyk.jpg": _pillow(rgb.convert("CMYK"), "JPEG"),
        "rgb.webp": _pillow(rgb, "WEBP", **meta, xmp=XMP),
        "rgba.webp": _pillow(rgba, "WEBP", lossless=True),
        "rgb.bmp": _pillow(rgb, "BMP"),
        "rgb.gif": _pillow(rgb, "GIF"),
        "rgb.avif": _pillow(rgb, "AVIF", **meta),
        "rgb.jxl": imagecodecs.jpegxl_encode(_picture(3), effort=1),
        "box.jxl": imagecodecs.jpegxl_encode(deep, effort=1, usecontainer=True),
        "lzw.tif": _tiff(_picture(3), "rgb", compression="lzw", predictor=True, rowsperstrip=5),
        "planar.tif": _tiff(_picture(3).transpose(2, 0, 1).copy(), "rgb", planarconfig="separate", compression="zlib"),
        "tiles.tif": _tiff(deep, "rgb", tile=(16, 16), compression="deflate", iccprofile=icc),
        "jpeg.tif": _tiff(_picture(3), "rgb", compression="jpeg"),
        "alpha.tif": _tiff(_picture(4), "rgb", extrasamples=["assocalpha"], byteorder=">"),
        "big.tif": _tiff(deep_grey[..., 0], "minisblack", bigtiff=True),
        "cmyk.tif": _tiff(_picture(4), "separated"),
    }
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        return found
    stream = BytesIO()
    pillow_heif.from_pillow(rgb).save(stream)
    return found | {"rgb.heic": stream.getvalue()}


def torch_files(folder: Path) -> dict[str, bytes]:
    """Return checkpoints as PyTorch writes them, in both formats, and as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "a.bias": np.ones(3, np.float16)}
    checkpoint.save(folder / "safe", arrays, {"note": "small"})
    return {
        "zip.pth": write_pth(folder / "zip.pth", arrays).read_bytes(),
        "wrapped.pth": write_pth(folder / "wrapped.pth", arrays, wrap="params_ema").read_bytes(),
        "legacy.pth": write_legacy(folder / "legacy.pth", arrays).read_bytes(),
        "a.safetensors": (folder / "safe" / checkpoint.FILE_NAME).read_bytes(),
    }


def models(folder: Path) -> dict[str, bytes]:
    """Return a checkpoint of ours with its preset."""
    arrays = {name: np.ones(shape, np.float32) for name, shape in Model(PIXEL).shapes().items()}
    checkpoint.save(folder / "model", arrays, {"preset": PIXEL.to_dict()})
    return {"m.safetensors": (folder / "model" / checkpoint.FILE_NAME).read_bytes()}


def calibrations(folder: Path) -> dict[str, bytes]:
    """Return two bundled calibrations, the closed loop of one without most of its rows."""
    whole = json.loads((ASSETS / "calibration-deterministic-4.json").read_text())
    return {"c.json": json.dumps(whole).encode()}


def protocols(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((ROOT / "jaxsr/evaluation/protocols").glob("*.json"))[:3]}


def results(folder: Path) -> dict[str, bytes]:
    return {"r.json": json.dumps(asdict(result("ours", [30.0, 31.0, 32.5], seeds=2))).encode()}


def sidecars(folder: Path) -> dict[str, bytes]:
    one = Request(
        input=SourceFile(Path("in/a.png"), "0" * 64),
        format="jpg",
        model="tiny-x4",
        model_sha256="1" * 64,
        options=Options(steps=4, alpha=(0.1, 0.2, 0.1, 0.0)),
        quality=90,
        reference=SourceFile(Path("in/hr.png"), "2" * 64),
        reference_box=(1, 2, 30, 40),
    )
    record = one.to_record() | {"options": one.decisions(), "batch": 2, "output_sha256": "3" * 64}
    record |= {"command": "python -m jaxsr.sample --input=/in/a.png", "jax": "0.10.2", "processor": "one"}
    return {"a.json": json.dumps(record).encode()}


def journals(folder: Path) -> dict[str, bytes]:
    """Return a journal whose lines hold their numbers twice, so that a changed number would show."""
    path = folder / "calib.json.part"
    with JournalFile(path, {"seed": 0}, what="run") as journal:
        rng = np.random.default_rng(0)
        lines = [rng.normal(size=6).tolist() for _ in range(5)]
        journal.write([{"values": line, "same": line} for line in lines])
    return {"j.part": path.read_bytes()}


def parts(folder: Path) -> dict[str, bytes]:
    """Return the results of one image of a study, all of the same numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    save_part(folder / "a.npz", {name: np.arange(3.0) for name in ("error", "b/variance")})
    return {"a.npz": (folder / "a.npz").read_bytes()}


SEEDS: dict[str, Callable[[Path], dict[str, bytes]]] = {
    "image": images,
    "torch": torch_files,
    "model": models,
    "calibration": calibrations,
    "protocol": protocols,
    "result": results,
    "sidecar": sidecars,
    "journal": journals,
    "part": parts,
}
