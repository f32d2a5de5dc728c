"""Test the conversion of two files to a checkpoint: released layouts, small ones through to an image, and errors."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxsr
from jaxsr.hub import checkpoint
from jaxsr.hub import resolve as resolve_module
from jaxsr.models.model import Model
from jaxsr.models.presets import PRESETS, preset_from_dict
from jaxsr.storage import sha256_file
from jaxsr.torch_files import key_rules
from jaxsr.torch_files.reader import Tensor
from tests.models.tiny import unet_config
from tests.torch_files.files import manifest, random_array, random_state_dict, write_pth
from weight_conversion import convert
from weight_conversion.__main__ import main
from weight_conversion.architecture import derived_buffers
from weight_conversion.convert import RELEASED, ConversionError, convert_card, convert_files, read_source, recognise

NETWORK = unet_config(window_size=4, num_res_blocks=(1,))
CODEC = replace(PRESETS["realsr_s4_v3"].codec, ch=32, num_res_blocks=(1, 1, 1), n_embed=16)


@pytest.fixture
def small(monkeypatch):
    """Put three small presets under the names of released ones: two are alike, one differs."""
    other = replace(NETWORK, cond_mask=True)
    small = {"realsr_s4_v3": NETWORK, "realsr_s15_v1": NETWORK, "inpainting_face_s4": other}
    for name, network in small.items():
        monkeypatch.setitem(PRESETS, name, replace(PRESETS[name], network=network, codec=CODEC))
    monkeypatch.setattr(convert, "RELEASED", {name: RELEASED[name] for name in small})


@pytest.fixture
def files(tmp_path, small) -> list[Path]:
    network = write_pth(tmp_path / "resshift_realsrx4_s4_v3.pth", random_state_dict(NETWORK))
    return [network, write_pth(tmp_path / "autoencoder_vq_f4.pth", random_state_dict(CODEC, 1000), "state_dict")]


def test_the_checkpoint_holds_the_values_and_where_they_came_from(tmp_path, files):
    path = convert_files(files, tmp_path / "out")
    assert path == tmp_path / "out" / "model.safetensors"
    params, metadata = checkpoint.load(path)
    preset = preset_from_dict(metadata["preset"])
    assert preset == PRESETS["realsr_s4_v3"]
    checkpoint.check_params(params, Model(preset).shapes())
    kernel = random_state_dict(NETWORK)["input_blocks.0.0.weight"]
    np.testing.assert_array_equal(params["network.input_blocks.0.0.kernel"], kernel.transpose(2, 3, 1, 0))
    codes = random_state_dict(CODEC, 1000)["quantize.embedding.weight"]
    np.testing.assert_array_equal(params["codec.quantize.embedding.embedding"], codes)
    assert [(s["part"], s["file"], s["sha256"]) for s in metadata["sources"]] == [
        (part, file.name, sha256_file(file)) for part, file in zip(("network", "codec"), files, strict=True)
    ]
    assert metadata["licence"]["name"] == "S-Lab License 1.0"
    assert "non-commercial purpose" in metadata["licence"]["text"]
    assert metadata["converter"] == {"name": "weight_conversion", "version": jaxsr.__version__}
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_the_order_of_files_and_their_format_do_not_matter(tmp_path, files):
    first = convert_files(files, tmp_path / "1")
    save_file(random_state_dict(NETWORK), tmp_path / "resshift_realsrx4_s4_v3.safetensors")
    second = convert_files([files[1], tmp_path / "resshift_realsrx4_s4_v3.safetensors"], tmp_path / "2")
    (a, _), (b, _) = checkpoint.load(first), checkpoint.load(second)
    assert all(np.array_equal(a[name], b[name]) for name in a.keys() | b.keys())


def test_jaxsr_loads_it_and_enlarges_an_image(tmp_path, files):
    convert_files(files, tmp_path / "out")
    upscaler = jaxsr.load(tmp_path / "out")
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert upscaler.upscale(image, seed=0, steps=1).shape == (64, 64, 3)


def test_one_network_alone_is_recognised_without_its_name(tmp_path, files):
    network = write_pth(tmp_path / "model_500.pth", random_state_dict(replace(NETWORK, cond_mask=True)))
    codec = (tmp_path / "codec.pth").resolve()
    files[1].rename(codec)
    _, metadata = checkpoint.load(convert_files([network, codec], tmp_path / "out"))
    assert metadata["preset"]["name"] == "inpainting_face_s4"


def test_equal_layouts_need_a_name_or_the_option(tmp_path, files):
    network = write_pth(tmp_path / "ema_model_500.pth", random_state_dict(NETWORK))
    with pytest.raises(ConversionError, match=r"ema_model_500\.pth: realsr_s4_v3, realsr_s15_v1 all have.*--preset"):
        convert_files([network, files[1]], tmp_path / "out")
    for name in ("realsr_s15_v1", "resshift-realsr-s15-v1"):
        path = convert_files([network, files[1]], tmp_path / name, preset=name)
        assert checkpoint.load(path)[1]["preset"]["name"] == "realsr_s15_v1"


def test_the_option_takes_short_names_of_models():
    assert convert._released_name("resshift-inpainting-face") == "inpainting_face_s4"


def test_the_autoencoders_name_decides_between_the_networks_for_inpainting(tmp_path, files, monkeypatch):
    other = replace(PRESETS["inpainting_face_s4"], name="inpainting_imagenet_s4")
    monkeypatch.setitem(PRESETS, "inpainting_imagenet_s4", other)
    monkeypatch.setitem(convert.RELEASED, "inpainting_imagenet_s4", RELEASED["inpainting_imagenet_s4"])
    network = write_pth(tmp_path / "model_500.pth", random_state_dict(replace(NETWORK, cond_mask=True)))
    for name, codec in [("imagenet", files[1]), ("face", tmp_path / "celeba256_vq_f4_dim3_face.pth")]:
        codec.exists() or files[1].rename(codec)
        sources = convert._pair([read_source(network), read_source(codec)])
        assert recognise(sources).name == f"inpainting_{name}_s4"
    codec = codec.rename(tmp_path / "codec.pth")
    with pytest.raises(ConversionError, match="inpainting_face_s4, inpainting_imagenet_s4 all have this layout"):
        recognise(convert._pair([read_source(network), read_source(codec)]))


def test_the_autoencoder_of_another_model_is_refused(tmp_path, files):
    other = files[1].rename(tmp_path / "celeba256_vq_f4_dim3_face.pth")
    with pytest.raises(ConversionError, match=r"celeba256.*is not the autoencoder of .*autoencoder_vq_f4\.pth"):
        convert_files([files[0], other], tmp_path / "out")


def test_a_damaged_state_dict_of_a_known_name_lists_what_is_wrong(tmp_path, files):
    state = random_state_dict(NETWORK)
    del state["time_embed.0.bias"], state["middle_block.1.patch_embed.proj.weight"]
    write_pth(files[0], state | {"out.3.bias": random_array((3,)), "loss.scale": random_array((3,))})
    with pytest.raises(ConversionError) as caught:
        convert_files(files, tmp_path / "out")
    assert "(unmatched: out.3.bias [3]; never written" in str(caught.value)
    assert "never written: middle_block.1.patch_embed.proj.kernel, time_embed.0.bias" in str(caught.value)
    assert not (tmp_path / "out").exists()


FOREIGN = {
    "loss.logvar": random_array((1,)),
    "loss.discriminator.main.3.weight": random_array((8, 4, 3, 3)),
    "loss.discriminator.main.3.num_batches_tracked": np.array(7),
    "ema_decay": np.full((2,), np.nan, np.float32),
}


def test_entries_outside_of_the_modules_are_ignored_and_named(tmp_path, files, capsys):
    plain = checkpoint.load(convert_files(files, tmp_path / "plain"))
    assert capsys.readouterr().err == ""
    write_pth(files[0], random_state_dict(NETWORK) | {"step": 3, "optimizer": {"state": {}}})
    write_pth(files[1], FOREIGN | random_state_dict(CODEC, 1000), "state_dict")
    arguments = ["convert", *map(str, files), "-o"]
    assert main([*arguments, str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"note: {files[0]}: ignored 2 entries that are no part of the network (Swin-UNet): step, optimizer",
        f"note: {files[1]}: ignored 4 entries that are no part of the VQ autoencoder: loss.logvar, "
        f"{', '.join(list(FOREIGN)[1:])}",
    ]
    params, metadata = checkpoint.load(tmp_path / "out")
    assert all(np.array_equal(params[name], plain[0][name]) for name in params.keys() | plain[0].keys())
    assert metadata | {"sources": ...} == plain[1] | {"sources": ...}
    assert main([*arguments, str(tmp_path / "strict"), "--strict"]) == 1
    assert capsys.readouterr().err == (
        f"error: {files[0]}: holds 2 entries that are no part of the network (Swin-UNet): step, optimizer; "
        "leave out --strict to ignore them.\n"
    )
    assert not (tmp_path / "strict").exists()


def test_strict_accepts_files_without_other_entries(tmp_path, files):
    assert convert_files(files, tmp_path / "strict", strict=True).is_file()


@pytest.mark.parametrize(
    ("index", "key", "entry"),
    [
        (0, "input_blocks.1.0.in_layers.5.weight", random_array((4, 4))),
        (0, "feature_extractor.0.weight", random_array((16, 3, 3, 3))),  # this network has none, others do
        (0, "middle_block.0.in_layers.0.num_batches_tracked", np.array(7)),
        (0, "out.step", 3),
        (1, "encoder.down.0.block.2.conv1.weight", random_array((32, 32, 3, 3))),
        (1, "decoder.mid.attn_2.q.bias", random_array((32,))),
        (1, "quantize", random_array((3,))),
    ],
)
def test_a_further_entry_of_a_known_module_means_another_network(tmp_path, files, index, key, entry):
    config, seed, wrap = ((NETWORK, 0, None), (CODEC, 1000, "state_dict"))[index]
    write_pth(files[index], random_state_dict(config, seed) | {key: entry}, wrap)
    with pytest.raises(ConversionError, match=rf"{files[index].name}: does not fit the network \(unmatched: {key} "):
        convert_files(files, tmp_path / "out", preset="realsr_s4_v3")


def test_an_unknown_layout(tmp_path, files):
    network = write_pth(tmp_path / "mine.pth", random_state_dict(replace(NETWORK, mlp_ratio=3.0)))
    with pytest.raises(ConversionError, match=r"mine\.pth and .*no released model has this layout"):
        convert_files([network, files[1]], tmp_path / "out")
    with pytest.raises(ConversionError, match=r"wrongly shaped: .*mlp\.fc1"):
        convert_files([network, files[1]], tmp_path / "out", preset="realsr_s4_v3")


def test_wrong_sets_of_files(tmp_path, files):
    for given, match in [(files[:1], "VQ autoencoder as well"), (files[1:], "Swin-UNet"), ([*files, files[0]], "two")]:
        with pytest.raises(ConversionError, match=match):
            convert_files(given, tmp_path / "out")
    save_file({"conv.weight": random_array((2,))}, tmp_path / "other.safetensors")
    with pytest.raises(ConversionError, match=r"other\.safetensors: holds neither .*conv\.weight"):
        convert_files([files[0], tmp_path / "other.safetensors"], tmp_path / "out")
    with pytest.raises(ConversionError, match=r"--preset: unknown model or preset 'v9'; choose one of realsr_s4_v3"):
        convert_files(files, tmp_path / "out", preset="v9")


def test_a_checkpoint_is_replaced_only_on_request(tmp_path, files, capsys):
    arguments = ["convert", *map(str, files), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "model.safetensors" in capsys.readouterr().out
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert main([*arguments, "--preset", "realsr_s15_v1"]) == 1
    assert "error: " in (text := capsys.readouterr().err)
    assert "already exists" in text
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    assert main([*arguments, "--preset", "realsr_s15_v1", "--overwrite"]) == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() != before


def test_first_use_of_a_name_downloads_and_converts(tmp_path, files, monkeypatch, capsys):
    write_pth(files[1], random_state_dict(CODEC, 1000) | {"loss.logvar": random_array((1,))})
    monkeypatch.setenv("JAXSR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(resolve_module, "_download", lambda file: tmp_path / file.name)
    upscaler = jaxsr.load("resshift-realsr-s4-v3", accept_license=True)
    assert upscaler.preset == PRESETS["realsr_s4_v3"]
    assert "autoencoder_vq_f4.pth: ignored 1 entry that is no part of" in capsys.readouterr().err
    monkeypatch.setattr(resolve_module, "_download", lambda file: pytest.fail("downloaded again"))
    assert resolve_module.resolve("resshift-realsr-s4-v3") == tmp_path / "cache/resshift-realsr-s4-v3/model.safetensors"


def layout(stem: str) -> dict[str, Tensor]:
    """Return a released state dict with zeros as values and our own buffers."""
    entries = manifest(stem)
    config = convert.Source(Path(stem), "network", {k: Tensor(s, np.dtype(d), list) for k, s, d, _ in entries})
    buffers = derived_buffers(config.architecture())
    zero = np.float32(0)
    return {
        key: Tensor(shape, np.dtype(dtype), lambda key=key, shape=shape: buffers.get(key, np.broadcast_to(zero, shape)))
        for key, shape, dtype, _ in entries
    }


MANIFEST = {"resshift_realsrx4_s15_v2": "resshift_realsrx4_s15_v1", "SinSR_v1": "resshift_realsrx4_s15_v1"}


@pytest.mark.parametrize("preset", RELEASED)
def test_every_released_layout_converts_and_runs_through_eval_shape(tmp_path, monkeypatch, preset):
    def state(path: Path) -> dict[str, Tensor]:
        return layout(MANIFEST.get(path.stem, path.stem))

    saved = {}
    monkeypatch.setattr(convert, "read_state_dict", state)
    monkeypatch.setattr(key_rules, "_check_values", lambda *_: None)
    monkeypatch.setattr(convert, "sha256_file", lambda path: "")
    monkeypatch.setattr(checkpoint, "save", lambda folder, params, metadata: saved.update(params) or folder)
    files = [tmp_path / file.name for file in RELEASED[preset].files]
    assert recognise(convert._pair([read_source(path) for path in files])).name == preset
    convert_files(files, tmp_path)
    check_shapes(PRESETS[preset], saved)


def check_shapes(preset, params) -> None:
    """Check that the parameters are the network's, and that one image passes through encoder, network and decoder."""
    model = Model(preset)
    assert {name: array.shape for name, array in params.items()} == model.shapes()
    abstract = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in params.items()}
    side = preset.align
    lr = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    mask = jax.ShapeDtypeStruct((1, side, side, 1), np.float32) if preset.network.cond_mask else None

    def run(params, lr, mask):
        z_lr = model.encode_lr(params, lr)
        denoise = model.denoiser(params, preset.schedule.build(), z_lr, lr, mask)
        return model.decode(params, denoise(z_lr, jax.numpy.int32(0)))

    assert jax.eval_shape(run, abstract, lr, mask).shape == (1, preset.scale * side, preset.scale * side, 3)


@pytest.mark.slow
@pytest.mark.parametrize("preset", RELEASED)
def test_every_released_checkpoint_converts_at_full_size(tmp_path, preset):
    card = RELEASED[preset]
    for file in card.files:
        stem = Path(MANIFEST.get(Path(file.name).stem, Path(file.name).stem))
        arrays = layout(str(stem))
        write_pth(
            tmp_path / file.name,
            {
                key: tensor.read() if tensor.dtype.kind == "i" or key.endswith("mask") else random_array(tensor.shape)
                for key, tensor in arrays.items()
            },
        )
    path = convert_card(card, {file.name: tmp_path / file.name for file in card.files}, tmp_path / "out")
    params, metadata = checkpoint.load(path)
    assert metadata["preset"]["name"] == preset
    check_shapes(PRESETS[preset], params)
    for file in tmp_path.rglob("*.*"):
        file.unlink()  # pytest keeps folders, and these are 1.4 GB
