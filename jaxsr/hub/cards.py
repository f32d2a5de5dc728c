"""The models that are known by name, as data: preset, files, licence."""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Licence:
    """The terms of a model's weights. `notice` is the line that the user sees before the download."""

    name: str
    url: str
    noncommercial: bool
    notice: str


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: the addresses that hold it, and its size in bytes and SHA-256 if they are known.

    Of some files only the first and the last digits of the SHA-256 are known. Then `sha256` is `first...last`, which
    tells a wrong file but not a forged one. Unless all 64 digits are known, the SHA-256 of the first download is stored
    beside the file and enforced from then on.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """A named model: its preset, description, scale, files (none if bundled) and licence.

    A model with `needs_mask` fills in the part of an image that a mask marks, and does nothing without a mask.
    """

    name: str
    preset: str
    description: str
    scale: int
    files: tuple[RemoteFile, ...]
    licence: Licence
    bundled: bool = False
    needs_mask: bool = False


_TINY = Licence(
    name="CC BY-SA 4.0",
    url="https://creativecommons.org/licenses/by-sa/4.0/",
    noncommercial=False,
    notice="weights trained on photographs of CID22 (CC BY-SA 4.0) and of gb82 (CC0 1.0); the code is Apache-2.0",
)
_PHOTO = replace(
    _TINY,
    notice="weights trained on photographs of CID22 (CC BY-SA 4.0), of gb82 (CC0 1.0), and of the wallpapers of Ubuntu "
    "(CC BY-SA 3.0) and Budgie (CC0 1.0); the code is Apache-2.0",
)
_S_LAB = Licence(
    name="S-Lab License 1.0",
    url="https://github.com/zsyOAOA/ResShift/blob/HEAD/LICENSE",
    noncommercial=True,
    notice="released by the authors of ResShift for non-commercial use only",
)
_SINSR = Licence(
    name="CC BY-NC-SA 4.0, and S-Lab License 1.0 for what it builds on",
    url="https://github.com/wyf0912/SinSR",
    noncommercial=True,
    notice="released by the authors of SinSR for non-commercial use only, share-alike; distilled from ResShift",
)


def _resshift_file(name: str, sha256: str | None = None) -> RemoteFile:
    return RemoteFile(name, (f"https://github.com/zsyOAOA/ResShift/releases/download/v2.0/{name}",), sha256=sha256)


_VQ_F4 = _resshift_file("autoencoder_vq_f4.pth", "e967eaa2...2889")  # in both public copies
_VQ_F4_FACE = _resshift_file("celeba256_vq_f4_dim3_face.pth")
_VQ_F8_FACE = _resshift_file("ffhq512_vq_f8_dim8_face.pth")
_SINSR_V1 = RemoteFile("SinSR_v1.pth", ("https://github.com/wyf0912/SinSR/releases/download/v1.0/SinSR_v1.pth",))


def _resshift(
    name: str, description: str, scale: int, file: str, autoencoder: RemoteFile = _VQ_F4, *, needs_mask: bool = False
) -> ModelCard:
    files, preset = (_resshift_file(file), autoencoder), name.replace("-", "_")
    return ModelCard(f"resshift-{name}", preset, description, scale, files, _S_LAB, needs_mask=needs_mask)


DEFAULT_MODEL = "photo-x4"
"""The model of the commands and of `jaxsr.load` if none is named."""

_CARDS = (
    ModelCard("photo-x4", "photo_x4", "real photographs, in the package", 4, (), _PHOTO, bundled=True),
    ModelCard("tiny-x4", "tiny_x4", "bicubic reductions, in the package", 4, (), _TINY, bundled=True),
    _resshift("realsr-s4-v3", "real photographs, 4 steps", 4, "resshift_realsrx4_s4_v3.pth"),
    _resshift("realsr-s15-v1", "real photographs, 15 steps", 4, "resshift_realsrx4_s15_v1.pth"),
    _resshift("realsr-s15-v2", "real photographs, 15 steps, second version", 4, "resshift_realsrx4_s15_v2.pth"),
    _resshift("bicsr-s4", "images reduced by bicubic interpolation, 4 steps", 4, "resshift_bicsrx4_s4.pth"),
    _resshift(
        "inpainting-imagenet-s4",
        "filling in natural images, 4 steps",
        1,
        "resshift_inpainting_imagenet_s4.pth",
        needs_mask=True,
    ),
    _resshift(
        "inpainting-face-s4",
        "filling in faces, 4 steps",
        1,
        "resshift_inpainting_face_s4.pth",
        _VQ_F4_FACE,
        needs_mask=True,
    ),
    _resshift("faceir-s4", "restoring degraded faces, 4 steps", 1, "resshift_faceir_s4.pth", _VQ_F8_FACE),
    ModelCard("sinsr-v1", "sinsr_v1", "real photographs, 1 step", 4, (_SINSR_V1, _VQ_F4), _SINSR),
)
MODELS = {card.name: card for card in _CARDS}


def known_models() -> tuple[ModelCard, ...]:
    """List all models that `jaxsr.hub.resolve.resolve` finds by name."""
    return tuple(MODELS.values())


def find_card(name: str) -> ModelCard | None:
    """Find a model by its name, or by its name without the number of steps at its end (`-s4`).

    Returns None if no model has the name, or if several models differ only in that number.
    """
    if name in MODELS:
        return MODELS[name]
    shorter = [card for card in MODELS.values() if re.sub(r"-s\d+$", "", card.name) == name]
    return shorter[0] if len(shorter) == 1 else None


def check_can_run(name: str, *, mask: bool) -> None:
    """Refuse a named model that cannot run, before anything is downloaded for it.

    Args:
        name: name of a model. The path of a checkpoint passes, because only its file says what it needs.
        mask: whether there is a mask for the model.
    Raises:
        ValueError: for a model that needs a mask if there is none, or takes none if there is one.
    """
    card = find_card(name)
    if card is not None and mask and not card.needs_mask:
        raise ValueError(f"model: {card.name} takes no mask; leave --mask out, or choose a model for inpainting.")
    if card is not None and card.needs_mask and not mask:
        raise ValueError(
            f"model: {card.name} fills in the part of an image that a mask marks; give the mask with --mask of "
            "python -m jaxsr.sample, or choose another model."
        )
