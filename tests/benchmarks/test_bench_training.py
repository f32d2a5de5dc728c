"""Test the benchmark of training: which configs it compares, and a whole run at a tiny size."""

import pytest

from benchmarks import bench_training
from tests.training.tiny_run import make_config, write_config


def test_each_row_lacks_one_choice_more():
    full = make_config(
        hr_size=40,
        optimizer="muon",
        perceptual="lpips-alex",
        perceptual_weight=0.1,
        perceptual_over_t="eta",
        detail_weight=0.1,
        detail_size=32,
        chain_share=0.5,
        chain_length=2,
    )
    rows = bench_training.variants(full)
    assert rows["the config"] == full
    assert rows["in bf16"].precision == "bf16"
    assert rows["without the second metric"].detail_weight == 0 < rows["without chains"].detail_weight
    assert rows["without chains"].chain_share == 0
    assert rows["without both metrics"].perceptual == "none"
    assert rows["without metrics and chains, with AdamW"] == make_config(hr_size=40)


def test_a_precision_that_is_left_to_the_machine_is_decided():
    rows = bench_training.variants(make_config(precision="auto"))
    assert {rows["the config"].precision, list(rows.values())[1].precision} == {"fp32", "bf16"}


def test_equal_configs_are_timed_once():
    assert list(bench_training.variants(make_config())) == ["the config", "in bf16"]


@pytest.mark.slow
def test_the_table_has_images_per_second(tmp_path, capsys):
    config = write_config(tmp_path / "run.py")
    assert bench_training.main(["--config", str(config), "--runs", "1"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    names = ["update", "---", "the config", "in bf16", "by XLA's convolutions", "making the batch"]
    assert [row[0].removeprefix("| ") for row in rows] == names
    assert float(rows[2][2]) == pytest.approx(4 / float(rows[2][1]), rel=0.02)
