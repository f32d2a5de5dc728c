"""Test that a picture too large for the memory is refused by its header, and that headers say the size."""

import resource
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxsr.imaging import memory
from jaxsr.imaging.files import read_photo
from jaxsr.imaging.jpeg_xl import jpeg_xl_size
from jaxsr.imaging.memory import check_memory, decoding_bytes, free_memory
from jaxsr.imaging.pixels import ImageFileError

GB = 10**9


def write(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


MACHINE = {"proc__meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MACHINE, 8_192_000_000),
        (
            MACHINE
            | {
                "proc__self__cgroup": "0::/a/b\n",
                "sys__fs__cgroup__a__memory_dot_max": "5000000000\n",
                "sys__fs__cgroup__a__memory_dot_current": "3000000000\n",
                "sys__fs__cgroup__a__memory_dot_stat": "anon 7\ninactive_file 1000000000\n",
                "sys__fs__cgroup__a__b__memory_dot_max": "max\n",
                "sys__fs__cgroup__a__b__memory_dot_current": "2\n",
            },
            3 * GB,
        ),
        (
            MACHINE
            | {
                "proc__self__cgroup": "9:cpu,memory:/x\n1:name=systemd:/x\n",
                "sys__fs__cgroup__memory__memory_dot_limit_in_bytes": "4000000000\n",
                "sys__fs__cgroup__memory__memory_dot_usage_in_bytes": "1000000000\n",
                "sys__fs__cgroup__memory__memory_dot_stat": "total_inactive_file 5\n",
                "sys__fs__cgroup__memory__x__memory_dot_limit_in_bytes": "9223372036854771712\n",
                "sys__fs__cgroup__memory__x__memory_dot_usage_in_bytes": "7\n",
            },
            3 * GB + 5,
        ),
    ],
    ids=["unknown", "machine", "groups of version 2", "groups of version 1"],
)
def test_the_least_of_all_limits_counts(tmp_path, files, expected):
    assert free_memory(write(tmp_path, **files)) == expected


def test_the_address_space_of_this_process_counts():
    script = f"""
    import resource; from jaxsr.imaging.memory import free_memory
    before = free_memory()
    resource.setrlimit(resource.RLIMIT_AS, ({3 * GB}, {3 * GB}))
    print(before, free_memory())
    """
    words = [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())]
    before, after = map(int, subprocess.check_output(words, text=True).split())
    assert 0 < after < 3 * GB < before or after <= before
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 3 * GB


def test_what_is_too_large_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * GB)
    check_memory(2 * GB, "it", "a.png")
    sentence = r"^a\.png: it needs about 2\.5 GB of memory, but 2 GB are free; cut the picture into parts"
    with pytest.raises(ImageFileError, match=sentence):
        check_memory(25 * 10**8, "it", "a.png")
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    check_memory(10**18, "it", "a.png")


def encoded(kind: str, pixels: np.ndarray) -> bytes:
    if kind == "jxl":
        return imagecodecs.jpegxl_encode(pixels, effort=1)
    stream = BytesIO()
    if kind == "tif":
        tifffile.imwrite(stream, pixels, photometric="rgb", compression="zlib")
    else:
        Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "bmp", "avif", "tif", "jxl"])
def test_every_type_is_refused_before_its_pixels_are_decoded(tmp_path, monkeypatch, kind):
    data = encoded(kind, np.zeros((40, 30, 3), np.uint8))
    (tmp_path / f"a.{kind}").write_bytes(
        data[: len(data) if kind in ("tif", "avif", "jpeg") else max(64, len(data) // 2)]
    )
    monkeypatch.setattr(memory, "free_memory", lambda: decoding_bytes(30, 40, 3, 1) - 1)
    monkeypatch.setattr("jaxsr.imaging.files.check_memory", lambda *args: None)
    with pytest.raises(ImageFileError, match=r"a picture of 30x40 needs about .* GB of memory"):
        read_photo(tmp_path / f"a.{kind}")


def test_a_file_that_is_no_image_is_not_read(tmp_path, monkeypatch):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(50 * GB)  # a hole; it takes no room
    with pytest.raises(ImageFileError, match=r"no readable PNG, .* image"):
        read_photo(tmp_path / "a.png")
    with (tmp_path / "a.png").open("r+b") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setattr(memory, "free_memory", lambda: 20 * GB)
    with pytest.raises(ImageFileError, match=r"the file needs about 50 GB of memory, but 20 GB are free"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(8, 8), (256, 128), (1, 1), (30, 40), (511, 3), (600, 500), (9000, 7), (1024, 768)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jpeg_xl(size, container):
    width, height = size
    data = imagecodecs.jpegxl_encode(np.zeros((height, width), np.uint8), effort=1, usecontainer=container)
    assert data.startswith(b"\xff\x0a") != container
    assert jpeg_xl_size(data) == size


@pytest.mark.parametrize("data", [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x02jxlX"])
def test_a_damaged_jpeg_xl_has_no_size(data):
    with pytest.raises(ValueError, match=r"cut short|no image"):
        jpeg_xl_size(data)


PEAKS = """
import sys
from jaxsr.imaging import decode
from jaxsr.imaging.files import read_photo

def number(file, word):
    return next(1024 * int(line.split()[1]) for line in open(file) if line.startswith(word))

asked, small, *large = [], *sys.argv[1:]
decode.check_memory = lambda needed, what, source: asked.append(needed)
for name in large:
    read_photo(small)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forgets the peak
    before = number("/proc/self/status", "VmRSS")
    read_photo(name)
    print(name, asked[-1], number("/proc/self/status", "VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's count of memory")
def test_the_estimate_is_above_what_reading_takes(tmp_path):
    rng, names = np.random.default_rng(0), []
    pixels = rng.normal(128, 10, (1200, 1500, 4)).clip(0, 255).astype(np.uint8)
    rgb, kinds = Image.fromarray(pixels[..., :3]), ("png", "bmp", "avif", "webp", "jpg")
    Image.fromarray(pixels[:8, :8]).save(tmp_path / "small.png")
    for kind in kinds:
        names.append(str(tmp_path / f"a.{kind}"))
        rgb.save(names[-1], **({"speed": 10} if kind == "avif" else {}))
    Image.fromarray(pixels).save(tmp_path / "alpha.png", compress_level=1)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png", compress_level=1)
    deep = pixels.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep[..., :3], photometric="rgb", compression="deflate")
    tifffile.imwrite(tmp_path / "alpha.tif", deep, photometric="rgb", extrasamples=["unassalpha"])
    planes = np.ascontiguousarray(pixels[..., :3].transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate", compression="lzw")
    names += [str(tmp_path / name) for name in ("alpha.png", "grey.png", "deep.tif", "alpha.tif", "planes.tif")]
    command = [sys.executable, "-c", PEAKS, str(tmp_path / "small.png"), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shares = []
    for line in done.stdout.splitlines():
        name, estimate, peak = line.split()
        file = Path(name).stat().st_size  # is in memory before the header is read
        assert int(peak) < int(estimate) + file + 4e6, line
        shares.append(int(peak) / int(estimate))
    assert len(shares) == len(names)
    assert max(shares) > 0.6
