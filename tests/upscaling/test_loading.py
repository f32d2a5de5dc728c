"""Test that the package's own call loads models by file or folder, or refuses them by name."""

import pytest

import jaxsr
from jaxsr.hub import checkpoint
from jaxsr.options import Options
from jaxsr.storage import sha256_file
from jaxsr.upscaling import loading
from jaxsr.upscaling.upscaler import Upscaler
from tests.small_model import save_small, small_preset


def test_the_package_offers_the_call():
    assert (jaxsr.load, jaxsr.Options, jaxsr.Upscaler) == (loading.load, Options, Upscaler)
    with pytest.raises(AttributeError, match="nothing"):
        jaxsr.nothing  # noqa: B018


def test_a_model_is_loaded_by_file_or_folder(small_checkpoints, channel):
    file = small_checkpoints["channel"]
    for path in (file.parent, str(file)):
        loaded = jaxsr.load(path)
        assert (loaded.preset, loaded.source, loaded.sha256) == (channel.preset, file, sha256_file(file))
    assert loaded.params.keys() == channel.params.keys()


def test_checkpoints_that_do_not_fit_are_refused_by_name(tmp_path, small_checkpoints):
    params, metadata = checkpoint.load(small_checkpoints["channel"])
    broken = checkpoint.save(tmp_path / "broken", params, {"preset": {"name": "x"}})
    with pytest.raises(checkpoint.CheckpointError, match=r"broken.*preset cannot be read"):
        jaxsr.load(broken)
    other = save_small(tmp_path / "other", small_preset())
    wider = small_preset(mlp_ratio=4).to_dict()
    checkpoint.save(other.parent, params, metadata | {"preset": wider})
    with pytest.raises(checkpoint.CheckpointError, match="shape"):
        jaxsr.load(other)
