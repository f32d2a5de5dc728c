"""Test the cards of the models: names and their short forms, files, hashes, licences, and what a model needs."""

import json
from dataclasses import replace

import pytest

from jaxsr.hub import cards
from jaxsr.hub.cards import find_card, known_models
from jaxsr.hub.resolve import LicenceError, UnknownModelError, resolve
from jaxsr.models.presets import PRESETS

RELEASED = [card for card in known_models() if not card.bundled]


def test_names_and_presets():
    assert {card.name: card.preset for card in known_models()} == {
        "photo-x4": "photo_x4",
        "tiny-x4": "tiny_x4",
        "resshift-realsr-s4-v3": "realsr_s4_v3",
        "resshift-realsr-s15-v1": "realsr_s15_v1",
        "resshift-realsr-s15-v2": "realsr_s15_v2",
        "resshift-bicsr-s4": "bicsr_s4",
        "resshift-inpainting-imagenet-s4": "inpainting_imagenet_s4",
        "resshift-inpainting-face-s4": "inpainting_face_s4",
        "resshift-faceir-s4": "faceir_s4",
        "sinsr-v1": "sinsr_v1",
    }


def test_only_the_released_models_are_noncommercial_and_have_files():
    for card in known_models():
        assert card.licence.noncommercial == bool(card.files) == (not card.bundled), card.name
        assert all(url.endswith(f"/{file.name}") for file in card.files for url in file.urls)
    by_name = {card.name: card.licence.name for card in known_models()}
    assert by_name["resshift-faceir-s4"] == "S-Lab License 1.0"
    assert "CC BY-NC-SA 4.0" in by_name["sinsr-v1"]
    assert "S-Lab License 1.0" in by_name["sinsr-v1"]


def test_cards_agree_with_the_manifests_of_the_released_checkpoints(shared):
    manifests = {}
    for path in (shared / "reference" / "checkpoints").glob("resshift_*.json"):
        content = json.loads(path.read_text())
        manifests[content["checkpoint"]] = (content["autoencoder"], content["diffusion"]["sf"])
    assert len(manifests) == 6
    cards = {card.files[0].name: (card.files[1].name, card.scale) for card in RELEASED}
    assert cards.items() >= manifests.items()


@pytest.mark.parametrize("card", known_models(), ids=lambda card: card.name)
def test_cards_say_which_networks_take_a_mask(card):
    assert card.needs_mask == PRESETS[card.preset].network.cond_mask


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resshift-inpainting-imagenet", "resshift-inpainting-imagenet-s4"),
        ("resshift-inpainting-face", "resshift-inpainting-face-s4"),
        ("resshift-faceir", "resshift-faceir-s4"),
        ("resshift-bicsr", "resshift-bicsr-s4"),
        ("resshift-bicsr-s4", "resshift-bicsr-s4"),
        ("resshift-realsr", None),  # two numbers of steps, three versions
        ("resshift-realsr-s4", None),
        ("resshift-bicsr-s", None),
        ("sinsr", None),
    ],
)
def test_a_name_without_its_number_of_steps(name, expected):
    card = find_card(name)
    assert (card.name if card else None) == expected


def test_a_short_name_of_two_models_is_refused_with_both(monkeypatch):
    for name in ("fake-s4", "fake-s15"):
        monkeypatch.setitem(cards.MODELS, name, replace(RELEASED[0], name=name))
    assert find_card("fake") is None
    with pytest.raises(UnknownModelError, match=r"did you mean fake-s4 or fake-s15\?"):
        resolve("fake")
    monkeypatch.delitem(cards.MODELS, "fake-s15")
    with pytest.raises(LicenceError, match=r"^fake-s4: "):
        resolve("fake")


def test_the_cards_hold_no_digits_but_the_known_ones():
    known = {file.name: file.sha256 for card in RELEASED for file in card.files if file.sha256}
    assert known == {"autoencoder_vq_f4.pth": "e967eaa2...2889"}
