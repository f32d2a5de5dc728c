"""Test pairing by name: which files belong together, and the errors that list the others."""

import pytest

from jaxsr.evaluation.datasets import fit_list, folder_items, known_datasets, open_dataset
from jaxsr.evaluation.pairs import Item, PairingError, attach, match, plain_name, read_table
from jaxsr.evaluation.protocols import Protocol, ProtocolError
from tests.evaluation.pictures import picture, save


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("0801x4", "0801"),
        ("baby_HR", "baby"),
        ("Canon_001_LR4", "Canon_001"),
        ("img_001_SRF_4_LR", "img_001"),
        ("bird_SRx4", "bird"),
        ("bird_out", "bird"),
        ("0801x4_sr", "0801"),
        ("x4", "x4"),
        ("max", "max"),
        ("colour", "colour"),
    ],
)
def test_usual_endings_are_stripped_and_no_more(name, plain):
    assert plain_name(name) == plain


def files(root, *names):
    return {name: save(root / f"{name}.png", picture(0)) for name in names}


def own(*names):
    return {name: (name,) for name in names}


@pytest.mark.parametrize("endings", [("", ""), ("_out", "_out"), ("x4", "_sr")], ids=str)
def test_partners_are_found_by_name_whatever_the_order(tmp_path, endings):
    found = match(own("b", "a"), files(tmp_path, *(f"{n}{e}" for n, e in zip("ba", endings, strict=True))), "--pred")
    assert {name: path.stem[0] for name, path in found.items()} == {"a": "a", "b": "b"}


def test_everything_alone_is_listed(tmp_path):
    with pytest.raises(PairingError, match=r"--pred: without one partner .*: b \(no file\), .*c\.png; rename") as error:
        match(own("a", "b"), files(tmp_path, "a", "c"), "--pred")
    assert "a.png" not in str(error.value)


def test_one_of_two_files_is_not_chosen(tmp_path):
    with pytest.raises(PairingError, match=r"a_sr\.png and .*a_out\.png \(for one name\)"):
        match(own("a"), files(tmp_path, "a_sr", "a_out"), "--pred")
    for ending in ("png", "bmp"):
        save(tmp_path / "two" / f"a.{ending}", picture(0))
    with pytest.raises(PairingError, match="are both called a"):
        folder_items(tmp_path / "two")


def test_a_long_list_is_cut_and_counted(tmp_path):
    with pytest.raises(PairingError, match=r"and 3 more; rename"):
        match(own(*(f"n{i}" for i in range(10))), files(tmp_path, "m"), "--pred")


def test_a_result_may_be_called_as_its_lr_image(tmp_path):
    save(tmp_path / "sr" / "img_001_SRF_4_LR.png", picture(0))
    item = Item("baby", None, tmp_path / "img_001_SRF_4_LR.png")
    assert attach([item], pred=tmp_path / "sr")[0].pred == tmp_path / "sr" / "img_001_SRF_4_LR.png"
    with pytest.raises(PairingError, match=r"--pred: .*baby \(no file\)"):
        attach([Item("baby")], pred=tmp_path / "sr")


def test_subfolders_are_part_of_a_name(tmp_path):
    for folder in ("hr", "sr"):
        for name in ("x/1", "y/1"):
            save(tmp_path / folder / f"{name}.png", picture(0))
    found = attach(folder_items(tmp_path / "hr"), pred=tmp_path / "sr")
    assert [(i.name, i.pred.parent.name) for i in found if i.pred] == [("x/1", "x"), ("y/1", "y")]


def test_a_table_of_pairs_is_read_and_its_errors_name_the_line(tmp_path):
    table = tmp_path / "PAIRS.tsv"
    table.write_text("lr/1.png\thr/b.png\n\nlr/2.png\thr/a.png\n")
    assert read_table(table, tmp_path)[tmp_path / "hr/a.png"] == tmp_path / "lr/2.png"
    table.write_text("lr/1.png hr/b.png\n")
    with pytest.raises(PairingError, match=r"PAIRS\.tsv:1: must be an LR path, a tab"):
        read_table(table, tmp_path)
    table.write_text("lr/1.png\thr/b.png\nlr/2.png\thr/b.png\n")
    with pytest.raises(PairingError, match=r"PAIRS\.tsv:2: hr/b\.png has an LR image already"):
        read_table(table, tmp_path)


def test_named_sets_are_found_in_their_layouts(tmp_path):
    files(tmp_path / "set5", "baby", "bird")
    files(tmp_path / "lr", "2", "1")
    (tmp_path / "lrx4").mkdir()
    (tmp_path / "lrx4" / "PAIRS.tsv").write_text("lr/1.png\tset5/bird.png\nlr/2.png\tset5/baby.png\n")
    found = {item.name: item.lr for item in open_dataset("set5", tmp_path)}
    assert found == {"baby": tmp_path / "lr/2.png", "bird": tmp_path / "lr/1.png"}
    files(tmp_path / "Canon/Test/4", "Canon_001_HR", "Canon_001_LR4")
    files(tmp_path / "Nikon/Test/4", "Nikon_001_HR", "Nikon_001_LR4")
    real = {item.name: item.lr.stem for item in open_dataset("realsr", tmp_path) if item.lr}
    assert real == {"Canon_001": "Canon_001_LR4", "Nikon_001": "Nikon_001_LR4"}
    files(tmp_path / "DIV2K_valid_HR", "0801")
    assert [item.lr for item in open_dataset("div2k", tmp_path)] == [None]
    files(tmp_path / "DIV2K_valid_LR_bicubic" / "X4", "0801x4")
    assert [item.lr.stem for item in open_dataset("div2k", tmp_path) if item.lr] == ["0801x4"]


@pytest.mark.parametrize("name", known_datasets())
def test_a_set_that_is_not_there_is_told_how_to_get(name, tmp_path):
    with pytest.raises(PairingError, match=f"holds no {name} .*: .*(download|come with)"):
        open_dataset(name, tmp_path)
    with pytest.raises(PairingError, match="give --data DIR"):
        open_dataset(name)


def test_originals_and_lr_images_side_by_side_are_pairs(tmp_path):
    for stem in ("Canon_001_HR", "Canon_001_LR4", "Canon_001_LR2", "sub/b-HR", "sub/b-LR", "c_LR4", "d"):
        save(tmp_path / f"{stem}.png", picture(0))
    items = {item.name: item for item in open_dataset(str(tmp_path))}
    partners = {name: item.lr and item.lr.stem for name, item in items.items()}
    assert partners == {"Canon_001_HR": "Canon_001_LR4", "sub/b-HR": "b-LR", "c_LR4": None, "d": None}


def test_an_unknown_set_is_refused(tmp_path):
    with pytest.raises(
        PairingError, match=r"--dataset: there is no 'Set-14' \(did you mean set14\?\); give one of set5"
    ):
        open_dataset("Set-14")
    with pytest.raises(PairingError, match=r"--dataset: there is no 'urban'; give one of set5"):
        open_dataset("urban", tmp_path)
    with pytest.raises(ValueError, match="the TFDS data set 'mnist' is not supported"):
        open_dataset("tfds:mnist/test")


def test_tfds_images_are_read_one_by_one(monkeypatch):
    from jaxsr.data import sources as data
    from jaxsr.data.photographs import LazyImages
    from jaxsr.evaluation.images import read_picture

    monkeypatch.setattr(data, "load_tfds", lambda name, split: LazyImages([3, 4], lambda seed: picture(seed)))
    items = open_dataset("tfds:div2k/validation")
    assert [item.name for item in items] == ["000000", "000001"]
    assert items[1].target is not None
    assert (read_picture(items[1].target).pixels == picture(4)).all()


def test_the_list_of_a_protocol_is_neither_exceeded_nor_cut(tmp_path):
    protocol = Protocol(name="p", about="", images={"a": "1", "b": "2"})
    assert [item.name for item in fit_list([Item("b_HR"), Item("a_HR")], protocol)] == ["a", "b"]
    with pytest.raises(ProtocolError, match=r"not those of p: b \(missing\), c \(not in it\); .*--protocol plain"):
        fit_list([Item("a"), Item("c")], protocol)
