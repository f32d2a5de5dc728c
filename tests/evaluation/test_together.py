"""Test that jobs that take images in turns give the numbers of jobs that run alone, share features, and resume."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from jaxsr.evaluation import run
from jaxsr.evaluation.methods import Method
from jaxsr.evaluation.pairs import Item
from jaxsr.evaluation.protocols import Protocol
from jaxsr.evaluation.run import Evaluation, evaluate, evaluate_together
from jaxsr.evaluation.scoring import Scorer
from jaxsr.hub.checkpoint import save as save_checkpoint
from tests.evaluation.pictures import picture, save
from tests.metrics.perceptual_weights import random_params


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Return two jobs on three images whose results differ, with DISTS of a random network."""
    monkeypatch.setenv("JAXSR_METRICS_DIR", str(tmp_path / "metrics"))
    save_checkpoint(tmp_path / "metrics/dists", random_params("dists"), {})
    items = []
    for i, name in enumerate("abc"):
        save(tmp_path / "hr" / f"{name}.png", picture(i, 32, 32))
        items.append(Item(name, target=tmp_path / "hr" / f"{name}.png"))

    def method(name: str, gain: float) -> Method:
        return Method(name, lambda pair, seed: gain / 255 * pair.lr.repeat(4, 0).repeat(4, 1), {"gain": gain})

    shared = {"items": items, "data": "ours", "protocol": Protocol(name="p", about=""), "metrics": ("psnr", "dists")}
    return [Evaluation(name=str(gain), method=method(str(gain), gain), **shared) for gain in (1.0, 0.8)]


def test_the_numbers_are_those_of_jobs_that_run_alone(jobs, tmp_path):
    together = evaluate_together([(job, tmp_path / f"{job.name}.json", False) for job in jobs])
    for job, result in zip(jobs, together, strict=True):
        alone = evaluate(job, tmp_path / f"alone-{job.name}.json")
        assert [row["image"] for row in result.images] == [row["image"] for row in alone.images]
        for name in job.metrics:
            np.testing.assert_allclose(*([row[name] for row in one.images] for one in (result, alone)), rtol=1e-5)
        assert replace(result, images=[], metrics={}) == replace(alone, images=[], metrics={})
        assert (tmp_path / f"{job.name}.json").exists()
    assert together[0].images != together[1].images


def test_the_features_of_an_original_are_computed_once(jobs, tmp_path, monkeypatch):
    computed, compute = Counter(), Scorer._features

    def counted(self, names, hr, grey):
        before = self._kept.get("content")
        found = compute(self, names, hr, grey)
        computed["asked"] += 1
        computed["made"] += self._kept["content"] != before
        return found

    monkeypatch.setattr(Scorer, "_features", counted)
    evaluate_together([(job, tmp_path / f"{job.name}.json", False) for job in jobs])
    assert computed == {"asked": 6, "made": 3}


def test_a_stopped_set_goes_on(jobs, tmp_path, monkeypatch):
    made, make = [], run.make

    def noting(method, pairs, seed, protocol):
        made.extend((method.name, pair.image) for pair in pairs)
        return make(method, pairs, seed, protocol)

    def stopping(method, pairs, seed, protocol):
        if len(made) == 3:
            raise KeyboardInterrupt
        return noting(method, pairs, seed, protocol)

    todo = [(job, tmp_path / f"{job.name}.json", False) for job in jobs]
    monkeypatch.setattr(run, "make", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate_together(todo)
    first = [*made]
    monkeypatch.setattr(run, "make", noting)
    evaluate_together(todo)
    assert len(first) == 3
    assert sorted(made) == sorted({*made})  # nothing is made twice
    assert len(made) == 6
    assert not list(tmp_path.glob("*.part"))
