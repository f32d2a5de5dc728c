"""Test that shards deal out all images once, by their content alone."""

from pathlib import Path

import numpy as np
import pytest

from jaxsr.batch.jobs import Job, in_shard


@pytest.fixture
def jobs(tmp_path):
    rng = np.random.default_rng(0)
    found = []
    for number in range(60):
        path = tmp_path / f"{number}.png"
        path.write_bytes(rng.bytes(50 + number))
        found += [Job(path, Path(f"out/{number}_{sample}.png"), sample) for sample in range(2)]
    return found


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_job_is_in_one_shard(jobs, count):
    shards = [in_shard(jobs, (i + 1, count)) for i in range(count)]
    assert sum(map(len, shards)) == len(jobs)
    assert {job for shard in shards for job in shard} == set(jobs)
    assert min(map(len, shards)) > len(jobs) / count / 3


def test_order_place_and_other_images_do_not_matter(jobs, tmp_path):
    chosen = {(job.source.name, job.sample) for job in in_shard(jobs, (2, 3))}
    again = {(job.source.name, job.sample) for job in in_shard(jobs[::-1][:50], (2, 3))}
    assert again == {(job.source.name, job.sample) for job in jobs[::-1][:50]} & chosen
    moved = tmp_path / "elsewhere" / "renamed.png"
    moved.parent.mkdir()
    moved.write_bytes(jobs[0].source.read_bytes())
    numbers = [
        [bool(in_shard([Job(path, Path("x.png"), 0)], (i, 5))) for i in range(1, 6)] for path in (moved, jobs[0].source)
    ]
    assert numbers[0] == numbers[1]


def test_files_that_cannot_be_read_are_in_one_shard_too(tmp_path):
    missing = [Job(tmp_path / "none.png", tmp_path / "out.png", 0)]
    assert sum(len(in_shard(missing, (i, 4))) for i in range(1, 5)) == 1
