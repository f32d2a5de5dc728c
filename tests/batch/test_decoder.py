"""Test that a process of its own decodes as this one does, and that its end costs one picture."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxsr.batch import decoder
from jaxsr.batch.decoder import DecoderProcess
from jaxsr.imaging.files import ImageFileError, read_photo
from tests.reliability.seeds import images

ROOT = Path(__file__).parents[2]


def test_every_format_is_read_as_in_this_process(tmp_path):
    with DecoderProcess() as other:
        for name, data in images(tmp_path).items():
            (tmp_path / name).write_bytes(data)
            found, expected = other.read(tmp_path / name), read_photo(tmp_path / name)
            np.testing.assert_array_equal(found.rgb, expected.rgb)
            np.testing.assert_array_equal(found.alpha, expected.alpha)
            for field in ("depth", "grey", "icc", "exif", "xmp", "dpi", "lost", "source"):
                assert getattr(found, field) == getattr(expected, field), (name, field)


def test_refusals_are_those_of_this_process(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    (tmp_path / "b.png").write_bytes(b"")
    with DecoderProcess() as other:
        for path in (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "none.png", tmp_path):
            with pytest.raises(ImageFileError) as expected:
                read_photo(path)
            with pytest.raises(ImageFileError) as found:
                other.read(path)
            assert str(found.value) == str(expected.value)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(tmp_path):
    with DecoderProcess(most_pixels=20) as other, DecoderProcess(most_pixels=30 * 300) as wider:
        for name, data in images(tmp_path).items():
            (tmp_path / name).write_bytes(data)
            with pytest.raises(ImageFileError, match="over the limit of 20 pixels; cut it into parts"):
                other.read(tmp_path / name)
            assert wider.read(tmp_path / name).rgb.size


def test_a_pipe_is_read_here(tmp_path):
    Image.new("RGB", (8, 6), (1, 2, 3)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    writer = threading.Thread(target=(tmp_path / "pipe.png").write_bytes, args=((tmp_path / "a.png").read_bytes(),))
    writer.start()
    with DecoderProcess() as other:
        assert other.read(tmp_path / "pipe.png").rgb.shape == (6, 8, 3)
        assert other._process is None
    writer.join()


def test_the_end_of_the_process_costs_one_picture(tmp_path, monkeypatch):
    Image.new("RGB", (8, 6), (1, 2, 3)).save(tmp_path / "a.png")
    kill = "import os, signal; from jaxsr.batch import decoder; decoder.read_decoded = "
    kill += "lambda *_: os.kill(os.getpid(), signal.SIGKILL); decoder.serve()"
    with DecoderProcess() as other:
        monkeypatch.setattr(decoder, "_CODE", kill)
        with pytest.raises(ImageFileError, match=r"a\.png: the process that decoded it has ended, .*; cut it into"):
            other.read(tmp_path / "a.png")
        monkeypatch.undo()
        assert other.read(tmp_path / "a.png").rgb.shape == (6, 8, 3)
        assert other._process is not None
        other._process.send_signal(signal.SIGKILL)
        other._process.wait()
        with pytest.raises(ImageFileError, match="has ended"):
            other.read(tmp_path / "a.png")
        assert other.read(tmp_path / "a.png").rgb.shape == (6, 8, 3)


def test_what_a_library_prints_is_no_answer(tmp_path, monkeypatch, capfd):
    Image.new("RGB", (8, 6), (1, 2, 3)).save(tmp_path / "a.png")
    loud = "import os; from jaxsr.batch import decoder; read = decoder.read_decoded; decoder.read_decoded = "
    loud += "lambda *asked: (os.write(1, b'noise'), read(*asked))[1]; decoder.serve()"
    monkeypatch.setattr(decoder, "_CODE", loud)
    with DecoderProcess() as other:
        assert other.read(tmp_path / "a.png").rgb.shape == (6, 8, 3)
    assert capfd.readouterr() == ("", "noise")


def test_the_process_ends_with_the_one_that_asked(tmp_path):
    Image.new("RGB", (8, 6), (1, 2, 3)).save(tmp_path / "a.png")
    code = """
import sys, time
from pathlib import Path
from jaxsr.batch.decoder import DecoderProcess
other = DecoderProcess()
other.read(Path(sys.argv[1]))
print(other._process.pid, flush=True)
time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    asker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert asker.stdout is not None
    pid = int(asker.stdout.readline())
    asker.kill()
    asker.communicate()  # ends only when nobody holds the pipe any more
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    pytest.fail("it lives on")
