"""Test that a sidecar reads back into an equal request, and which fields count when two requests are compared."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsr.batch.jobs import Job
from jaxsr.batch.request import Request, RequestError, SourceFile, StripPanel, request_for
from jaxsr.choices import (
    BLENDS,
    COLOUR_FIXES,
    METADATA,
    OBJECTIVES,
    PRECISIONS,
    REFERENCE_MEANS,
    REFERENCE_VARIANCES,
    THINNINGS,
    THROUGHS,
    TILE_NOISES,
)
from jaxsr.guidance.region import FEATHER
from jaxsr.options import Options

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
# File names may hold any bytes. Python represents undecodable bytes as lone surrogates.
PATHS = st.text(st.characters(exclude_characters="/\0"), min_size=1).map(Path)
SOURCES = st.tuples(PATHS, HASHES)
NUMBERS = st.floats(-10, 10)


def optional(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


# The strategies draw plain values instead of `Options`: the tests' type checks of arguments use random numbers, which
# hypothesis forbids inside strategies.
OPTIONS = {
    "steps": optional(st.integers(1, 100)),
    "sampler": optional(st.sampled_from(("ancestral", "deterministic", "heun"))),
    "thinning": st.sampled_from((*THINNINGS, (0, 5, 59))),
    "tile": st.sampled_from(("auto", 16, 64, (64, 32))),
    "overlap": optional(st.integers(0, 64)),
    "blend": st.sampled_from(BLENDS),
    "tile_noise": st.sampled_from(TILE_NOISES),
    "precision": st.sampled_from(PRECISIONS),
    "alpha": optional(NUMBERS | st.lists(NUMBERS, min_size=1, max_size=4).map(tuple)),
    "through": st.sampled_from(THROUGHS),
    "reference_mean": st.sampled_from(REFERENCE_MEANS),
    "reference_variance": st.sampled_from(REFERENCE_VARIANCES),
    "reference_slope": NUMBERS | st.lists(NUMBERS, min_size=1, max_size=4).map(tuple),
    "reference_offset": optional(NUMBERS | st.lists(NUMBERS, min_size=1, max_size=4).map(tuple)),
    "temperature": optional(st.floats(0, 9) | st.lists(st.floats(0, 9), min_size=1, max_size=4).map(tuple)),
    "projection": optional(st.floats(0, 1)),
}
CHOICES = st.fixed_dictionaries(OPTIONS).map(
    lambda options: options if isinstance(options["thinning"], str) else options | {"steps": None}
)
REQUESTS = {
    "input": SOURCES,
    "format": st.sampled_from(("png", "jpg", "webp", "tif")),
    "model": st.text(min_size=1),
    "model_sha256": HASHES,
    "options": CHOICES,
    "seed": st.integers(0, 2**32 - 1),
    "sample": st.integers(0, 99),
    "quality": optional(st.integers(1, 100)),
    "metadata": optional(st.sampled_from(METADATA)),
    "batch": st.integers(1, 64),
    "strip": st.lists(NUMBERS, max_size=3).map(tuple),
    "panels": st.lists(st.tuples(st.text(), CHOICES), max_size=2),
    "scale": optional(st.floats(1, 8)),
    "width": optional(st.integers(1, 10**6)),
    "height": optional(st.integers(1, 10**6)),
    "colour_fix": optional(st.sampled_from(COLOUR_FIXES)),
    "crop": optional(st.tuples(*[st.integers(0, 99)] * 2, *[st.integers(1, 99)] * 2)),
    "alpha_map": optional(SOURCES),
    "reference": optional(SOURCES),
    "reference_mask": optional(SOURCES),
    "mask": optional(SOURCES),
    "reference_box": optional(st.tuples(*[st.integers(0, 999)] * 4)),
    "feather": optional(st.integers(0, 99)),
    "objective": optional(st.sampled_from(OBJECTIVES)),
    "preset": optional(st.text(min_size=1)),
    "calibration": optional(SOURCES),
}


SOURCE_FIELDS = ("input", "alpha_map", "reference", "reference_mask", "mask", "calibration")


@given(st.fixed_dictionaries(REQUESTS))
def test_a_sidecar_reads_back_into_an_equal_request(values):
    sources = {name: values[name] and SourceFile(*values[name]) for name in SOURCE_FIELDS}
    panels = tuple(StripPanel(label, Options(**options)) for label, options in values["panels"])
    request = Request(**values | sources | {"options": Options(**values["options"]), "panels": panels})
    assert request.metadata != "keep"  # it is None, so that equal requests are equal
    sidecar = json.loads(json.dumps(request.to_record()))
    assert Request.from_record(sidecar) == request


def test_the_strategy_above_leaves_no_field_out():
    for kind, strategies in ((Request, REQUESTS), (Options, OPTIONS)):
        assert {field.name for field in fields(kind)} == strategies.keys()


PLAIN = Request(
    input=SourceFile(Path("a.png"), "1" * 64), format="png", model="m", model_sha256="2" * 64, options=Options()
)
FILE = SourceFile(Path("f.png"), "3" * 64)
DECIDING = {
    "options": Options(steps=3),
    "seed": 1,
    "sample": 1,
    "quality": 80,
    "metadata": "minimal",
    "strip": (0.0, 0.1),
    "alpha_map": FILE,
    "reference": FILE,
    "reference_mask": FILE,
    "mask": FILE,
    "reference_box": (0, 0, 1, 1),
    "feather": 2,
    "objective": "norm",
}


@pytest.mark.parametrize("name", DECIDING)
def test_each_of_these_fields_decides(name):
    assert replace(PLAIN, **{name: DECIDING[name]}).decisions() != PLAIN.decisions()


@pytest.mark.parametrize("name", ["alpha_map", "reference", "reference_mask", "mask"])
def test_a_file_decides_by_its_content_and_not_by_its_name(name):
    one = replace(PLAIN, **{name: FILE})
    assert replace(one, **{name: replace(FILE, path=Path("g.png"))}).decisions() == one.decisions()
    assert replace(one, **{name: replace(FILE, sha256="4" * 64)}).decisions() != one.decisions()


WRONG = {
    "seed": (-1, 2**32, 1.5, True, None),
    "sample": (-1, 2**32, "0"),
    "quality": (0, 101, 9.5),
    "batch": (0, None),
    "feather": (-1, 0.5),
    "format": ("", "gif", ".png", "PNG"),
    "objective": ("median",),
    "strip": ([0.1, float("nan")],),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_out_of_range_is_refused(name, value):
    record = PLAIN.to_record()
    if name in ("format", "batch"):
        record["requested_batch" if name == "batch" else name] = value
    else:
        record["requested"][name] = value
    with pytest.raises(RequestError, match=name):
        Request.from_record(record)


@pytest.mark.parametrize("value", [5, {}, [5], None])
@pytest.mark.parametrize("name", ["input", "input_sha256", "format", "model", "model_sha256", "requested", "files"])
def test_a_field_of_another_type_is_named(name, value):
    if (name, value) in (("requested", {}), ("files", {})):
        pytest.skip("an object, as it should be")
    with pytest.raises(RequestError, match=f"holds no request: .*{name}"):
        Request.from_record(PLAIN.to_record() | {name: value})


@pytest.mark.parametrize("name", [field.name for field in fields(Options)])
def test_an_option_of_another_type_is_named(name):
    record = PLAIN.to_record()
    record["requested"][name] = {"of": "another type"}
    with pytest.raises(RequestError, match=f"holds no request: .*{name}"):
        Request.from_record(record)


@pytest.mark.parametrize("files", [{"reference": "a.png"}, {"nothing": "a.png"}])
def test_a_guide_file_needs_its_hash(files):
    record = PLAIN.to_record() | {"files": files}
    record["requested"] |= {"reference": 5, "nothing": "ab"}
    with pytest.raises(RequestError, match=f"files.{next(iter(files))}: is no guide file with its hash"):
        Request.from_record(record)


def test_a_batch_changes_no_decision():
    assert replace(PLAIN, batch=4).decisions() == PLAIN.decisions()


@pytest.mark.parametrize("broken", [{}, {"requested": 1}, PLAIN.to_record() | {"requested": {"seed": 0}}])
def test_a_sidecar_without_a_request_is_refused(broken):
    with pytest.raises(RequestError, match="holds no request"):
        Request.from_record(broken)


def test_a_job_becomes_a_request(tmp_path):
    photo = tmp_path / "a.png"
    photo.write_bytes(b"photo")
    common = {"model": "m", "model_sha256": "2" * 64, "options": Options(), "quality": 70}
    lossless = request_for(Job(photo, tmp_path / "out/a.PNG", 2), **common)
    assert (lossless.format, lossless.quality, lossless.sample, lossless.feather) == ("png", None, 2, None)
    lossy = request_for(Job(photo, tmp_path / "out/a.jpeg", 0), reference=FILE, **common)
    assert (lossy.format, lossy.quality, lossy.feather) == ("jpeg", 70, FEATHER)
    with pytest.raises(ValueError, match=r"b\.png: no such file"):
        request_for(Job(tmp_path / "b.png", tmp_path / "out/b.png", 0), **common)
