"""Job ``sample``: whole files or none, exact numbers, repeatable, with their provenance."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import CheckpointError, ConfigError, DataFormatError, UnknownNameError
from flexpose.events import (
    TERMINAL,
    JobCancelled,
    JobFailed,
    JobFinished,
    MetricsReady,
    PreviewReady,
    StepCompleted,
)
from flexpose.geometry import normalised
from flexpose.io import read_poses
from flexpose.io.coco_check import check_coco
from flexpose.io.zarr_store import PoseStore
from flexpose.models.prior import load_generator, load_prior, load_regressor
from flexpose.sampling import load_model
from flexpose.training import sample


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(sample, "_BLOCK", 20)


def finished(events):
    assert isinstance(events[-1], JobFinished), events[-1]
    assert sum(isinstance(e, TERMINAL) for e in events) == 1
    return events[-1].result


def failed(events, kind, text):
    assert isinstance(events[-1], JobFailed), events[-1]
    error = events[-1].error
    assert type(error) is kind, events[-1].details
    assert text in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("model", ["keypoints", "adapted"])
@pytest.mark.parametrize("n", [1, 20, 50])
def test_a_coco_file_is_valid_and_holds_exactly_n(model, n, workshop, play, tmp_path):
    out = tmp_path / "poses.json"
    config = workshop.sample(out=out, n=n, model=str(getattr(workshop, model)), seed=3)
    events = play("sample", config, tmp_path / "run")
    assert finished(events) == out
    assert [f for f in check_coco(out) if f.level == "error"] == []
    poses = read_poses(out)
    assert len(poses) == n
    assert poses.complete.all()
    assert poses.skeleton.joints == workshop_joints(workshop)
    assert (poses.image_size == 64).all()
    np.testing.assert_allclose(
        normalised(poses.keypoints), (poses.keypoints / 63 * 2 - 1), atol=0.02
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["poses.json", "run"]


def workshop_joints(workshop):
    return load_generator(workshop.keypoints).skeleton.joints


def test_every_annotation_has_the_same_provenance(workshop, play, tmp_path):
    out = tmp_path / "poses.json"
    play("sample", workshop.sample(out=out, model=str(workshop.adapted), seed=3), tmp_path / "run")
    data = json.loads(out.read_text(encoding="utf-8"))
    (provenance,) = {json.dumps(a["flexpose"], sort_keys=True) for a in data["annotations"]}
    assert json.loads(provenance) == {
        "source": "synthetic",
        "reviewed": False,  # by nobody
        "model": str(workshop.adapted),
        "seed": 3,
    }
    assert f"sampled from {workshop.adapted}" in json.dumps(data["info"])


def test_a_seed_repeats_a_file_byte_by_byte(workshop, play, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / f"{name}.json"
        config = workshop.sample(out=out, seed=seed, model=str(workshop.adapted))
        finished(play("sample", config, tmp_path / name))

    def annotations(name):
        return json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["annotations"]

    assert annotations("a") == annotations("b")
    assert annotations("a")[0]["keypoints"] != annotations("c")[0]["keypoints"]


def test_a_zarr_store_keeps_poses_and_their_drawings(workshop, play, tmp_path):
    out = tmp_path / "poses.zarr"
    config = workshop.sample(out=out, images=True, n=30, size=32)
    finished(play("sample", config, tmp_path / "run"))
    store = PoseStore.open(out)
    assert len(store) == 30
    assert store.images.shape == (30, 32, 32, 3)
    assert store.provenance["seed"] == 0
    poses = store.read()
    assert poses.complete.all()
    joint = np.rint(poses.keypoints[4, 1]).astype(int).clip(0, 31)
    assert store.images[4][joint[1], joint[0]].max() > 60  # the head lies on a limb
    plain = tmp_path / "plain.zarr"
    finished(play("sample", workshop.sample(out=plain, n=30, size=32), tmp_path / "run2"))
    assert PoseStore.open(plain).images is None
    np.testing.assert_array_equal(PoseStore.open(plain).read().keypoints, poses.keypoints)


def test_all_formats_hold_the_same_poses(workshop, play, tmp_path):
    for name in ("a.json", "a.zarr", "a.npz"):
        finished(play("sample", workshop.sample(out=tmp_path / name), tmp_path / name[2:]))
    a, b = read_poses(tmp_path / "a.json"), read_poses(tmp_path / "a.zarr")
    np.testing.assert_allclose(a.keypoints, b.keypoints, atol=0.011)  # COCO has two decimals
    np.testing.assert_array_equal(read_poses(tmp_path / "a.npz").keypoints, b.keypoints)


def test_an_adapted_model_draws_its_share_of_mixups_or_another(workshop, play, tmp_path):
    def drawn(name, **given):
        config = workshop.sample(
            out=tmp_path / f"{name}.npz", model=str(workshop.adapted), n=25, **given
        )
        finished(play("sample", config, tmp_path / name))
        return read_poses(config.out).keypoints

    own, same, none = (
        drawn("own"),
        drawn("same", mixup_share=AdaptConfig.model_fields["mixup_share"].default),
        drawn("none", mixup_share=0),
    )
    np.testing.assert_array_equal(own, same)
    assert own.shape == none.shape
    assert not np.array_equal(own, none)


def test_a_plain_prior_has_no_shots_to_mix(workshop, play, tmp_path):
    config = workshop.sample(out=tmp_path / "a.json", mixup_share=0.1)
    failed(play("sample", config, tmp_path / "run"), ConfigError, "plain prior has no shots")


@pytest.mark.parametrize("suffix", [".json", ".zarr", ".npz"])
@pytest.mark.parametrize("at", [0, 20, 40])
def test_cancelling_leaves_no_file(suffix, at, workshop, play, tmp_path, monkeypatch):
    monkeypatch.setattr(sample.time, "monotonic", iter(range(1000)).__next__)  # report each block
    out = tmp_path / f"poses{suffix}"
    events = play("sample", workshop.sample(out=out, n=60), tmp_path / "run", cancel_at=at)
    assert events[-1] == JobCancelled(at)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("suffix", [".json", ".zarr", ".npz"])
def test_a_failure_leaves_what_was_there(suffix, workshop, play, tmp_path, monkeypatch):
    out = tmp_path / f"poses{suffix}"
    finished(play("sample", workshop.sample(out=out, n=5), tmp_path / "run"))
    before = read_poses(out).keypoints

    def broken(self, unit):
        raise RuntimeError("boom")

    monkeypatch.setattr(sample._PoseWriter, "append", broken)
    events = play("sample", workshop.sample(out=out, n=9, overwrite=True), tmp_path / "run2")
    assert isinstance(events[-1], JobFailed)
    np.testing.assert_array_equal(read_poses(out).keypoints, before)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("suffix", [".json", ".zarr", ".npz"])
def test_an_existing_file_is_replaced_only_when_asked(suffix, workshop, play, tmp_path):
    out = tmp_path / f"poses{suffix}"
    finished(play("sample", workshop.sample(out=out, n=5), tmp_path / "run"))
    events = play("sample", workshop.sample(out=out, n=9), tmp_path / "run2")
    failed(events, ConfigError, "exists already")
    assert len(read_poses(out)) == 5
    finished(play("sample", workshop.sample(out=out, n=9, overwrite=True), tmp_path / "run3"))
    assert len(read_poses(out)) == 9


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "no place for the poses"),
        ({"out": "poses.csv"}, "ends neither in .json"),
        ({"out": "poses.json", "images": True}, "go into Zarr stores only"),
    ],
)
def test_impossible_results_are_refused(changes, text, workshop, play, tmp_path):
    if "out" in changes:
        changes = {**changes, "out": tmp_path / changes["out"]}
    events = play("sample", workshop.sample(**changes), tmp_path / "run")
    failed(events, ConfigError, text)


def test_a_missing_folder_is_named(workshop, play, tmp_path):
    config = workshop.sample(out=tmp_path / "none" / "poses.json")
    failed(play("sample", config, tmp_path / "run"), DataFormatError, "cannot be written")


def test_progress_and_counts_are_told(workshop, play, tmp_path, monkeypatch):
    monkeypatch.setattr(sample.time, "monotonic", iter(range(1000)).__next__)
    config = workshop.sample(out=tmp_path / "a.json", model=str(workshop.adapted))
    events = play("sample", config, tmp_path / "run")
    assert [e.step for e in events if isinstance(e, StepCompleted)] == [20, 40, 50]
    (preview,) = [e for e in events if isinstance(e, PreviewReady)]
    assert preview.images.shape == (16, 64, 64, 3)
    (metrics,) = [e for e in events if isinstance(e, MetricsReady)]
    assert 0 < metrics.metrics["kept_share"] <= 1
    assert metrics.metrics["poses_per_second"] > 0


def test_an_image_prior_is_sampled_through_beta(workshop, play, tmp_path):
    out = tmp_path / "a.json"
    config = workshop.sample(
        out=out, model=str(workshop.images), regressor=str(workshop.beta), n=30, reject=0.3
    )
    events = play("sample", config, tmp_path / "run")
    assert finished(events) == out
    assert len(read_poses(out)) == 30
    (metrics,) = [e for e in events if isinstance(e, MetricsReady)]
    assert 0 < metrics.metrics["inconsistent_share"] < 0.8


def test_a_model_of_another_prior_than_is_there_now_is_refused(workshop, play, tmp_path):
    shutil.copytree(workshop.keypoints, tmp_path / "prior")
    play("adapt", workshop.adapt(prior=str(tmp_path / "prior")), tmp_path / "model")
    config = workshop.sample(model=str(tmp_path / "model"), out=tmp_path / "a.json", n=5)
    finished(play("sample", config, tmp_path / "run1"))
    shutil.rmtree(tmp_path / "prior")
    play("train-prior", workshop.prior(seed=9, steps=1), tmp_path / "prior")
    config = workshop.sample(model=str(tmp_path / "model"), out=tmp_path / "b.json")
    events = play("sample", config, tmp_path / "run2")
    failed(events, CheckpointError, "was adapted from a prior with the hash")
    assert "Adapt again, or put that prior back." in str(events[-1].error)
    shutil.rmtree(tmp_path / "prior")
    events = play("sample", config, tmp_path / "run3")
    failed(events, CheckpointError, "is not there any more")
    assert not (tmp_path / "b.json").exists()


def test_what_is_no_model_is_refused(workshop, tmp_path):
    with pytest.raises(UnknownNameError, match="Unknown prior or checkpoint folder 'nothing'"):
        load_model("nothing")
    with pytest.raises(CheckpointError, match="holds a regressor, expected a prior or an adapted"):
        load_model(workshop.beta)
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="kind 'adapted', expected 'prior'"):
        load_prior(workshop.adapted)
    with pytest.raises(CheckpointError, match="kind 'prior', expected 'regressor'"):
        load_regressor(workshop.keypoints)
    with pytest.raises(UnknownNameError, match="puppet-regressor"):
        load_prior(workshop.images)


def test_a_model_of_a_lost_regressor_says_which_is_lost(workshop, play, tmp_path):
    shutil.copytree(workshop.beta, tmp_path / "beta")
    play("adapt", workshop.adapt_image(steps=1, regressor=str(tmp_path / "beta")), tmp_path / "m")
    shutil.rmtree(tmp_path / "beta")
    with pytest.raises(CheckpointError, match=r"regressor .*beta, which is not there any more"):
        load_model(tmp_path / "m")
