"""Training jobs: finite steps, exact resuming, cancelling, and models that can be used after it."""

from __future__ import annotations

import math

import pytest
import torch

from flexpose.checkpoint import load_checkpoint
from flexpose.commands import find_command, resolve
from flexpose.events import (
    TERMINAL,
    CheckpointSaved,
    JobCancelled,
    JobFinished,
    StepCompleted,
)
from flexpose.jobs import CancelToken, guarded
from flexpose.models.detector import load_detector
from flexpose.models.pose_vae import load_vae
from flexpose.models.prior import load_regressor
from flexpose.runs import RunDir
from flexpose.sampling import PoseSampler, load_model

PAIRS = {"steps": 3, "batch_size": 4, "num_mixups": 16, "pool_size": 20, "rematch_every": 2}
NO_PARTS = {"kinematics": {"enabled": False}, "weighting": {"enabled": False}}


def paired(matching, features="keypoints", **more):
    return {"transfer": {"matching": matching, "pairs": {**PAIRS, "features": features, **more}}}


def rows(shop):
    """Name: (command, config) of every kind of training."""
    return {
        "keypoint prior": ("train-prior", shop.prior()),
        "image prior, adain": ("train-prior", shop.draws()),
        "image prior, demod": (
            "train-prior",
            shop.draws(generator={**shop.draws().generator.model_dump(), "modulation": "demod"}),
        ),
        "image prior with a teacher": ("train-prior", shop.taught(regressor=str(shop.beta))),
        "regressor": ("train-regressor", shop.regressor()),
        "regressor with generator": (
            "train-regressor",
            shop.regressor(generator=str(shop.images)),
        ),
        "pose vae": ("train-vae", shop.vae()),
        "adapt energy": ("adapt", shop.adapt()),
        "adapt energy held out": (
            "adapt",
            shop.adapt(hold_out=2, transfer={"layers": "all", "bias": True}),
        ),
        "adapt tau alone": ("adapt", shop.adapt(**NO_PARTS)),
        "adapt kinematics alone": (
            "adapt",
            shop.adapt(transfer={"matching": "none"}, weighting={"enabled": False}),
        ),
        "adapt weighting alone": (
            "adapt",
            shop.adapt(transfer={"matching": "none"}, kinematics={"enabled": False}),
        ),
        "adapt nothing": ("adapt", shop.adapt(transfer={"matching": "none"}, **NO_PARTS)),
        "adapt index": ("adapt", shop.adapt(**paired("index"))),
        "adapt ot": ("adapt", shop.adapt(**paired("ot", energy_weight=0.5))),
        "adapt ot, beta": (
            "adapt",
            shop.adapt(regressor=str(shop.large_beta), **paired("ot", "beta", num_mixups=0)),
        ),
        "adapt image, index": ("adapt", shop.adapt_image(**paired("index", "beta"), **NO_PARTS)),
        "adapt image, ot": ("adapt", shop.adapt_image(**paired("ot"), **NO_PARTS)),
        "adapt image, energy": ("adapt", shop.adapt_image(steps=3)),
        **{
            f"baseline {kind}": ("adapt-baseline", shop.baseline(kind))
            for kind in ("finetune", "lora", "adagan")
        },
        "detector": ("train-detector", shop.detector()),
        "detector as published": (
            "train-detector",
            shop.keypoint_gan(
                {"channels": 1, "supervised_weight": 0.0}, frames={"path": shop.frames}
            ),
        ),
        "detector with shots and colours": ("train-detector", shop.keypoint_gan({})),
        "detector with a trained reader": (
            "train-detector",
            shop.keypoint_gan({"reader": "body15-regressor"}, size=64),
        ),
        "translator": ("train-translator", shop.translator(looks=False)),
        "translator with labels and colours": (
            "train-translator",
            shop.translator(labels=shop.path / "frames-shots.npz", channels=3),
        ),
    }


NAMES = [
    "keypoint prior",
    "image prior, adain",
    "image prior, demod",
    "image prior with a teacher",
    "regressor",
    "regressor with generator",
    "pose vae",
    "adapt energy",
    "adapt energy held out",
    "adapt tau alone",
    "adapt kinematics alone",
    "adapt weighting alone",
    "adapt nothing",
    "adapt index",
    "adapt ot",
    "adapt ot, beta",
    "adapt image, index",
    "adapt image, ot",
    "adapt image, energy",
    "baseline finetune",
    "baseline lora",
    "baseline adagan",
    "detector",
    "detector as published",
    "detector with shots and colours",
    "detector with a trained reader",
    "translator",
    "translator with labels and colours",
]
every_job = pytest.mark.parametrize("name", NAMES)


def test_the_table_of_names_is_complete(workshop):
    assert list(rows(workshop)) == NAMES


def same(a, b):
    """Whether two nested values of tensors and plain data are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@every_job
def test_a_resumed_run_equals_an_uninterrupted_one(name, workshop, play, tmp_path):
    command, config = rows(workshop)[name]
    whole = play(command, config, tmp_path / "whole")
    assert isinstance(whole[-1], JobFinished), whole[-1]
    assert sum(isinstance(e, TERMINAL) for e in whole) == 1
    steps = [e for e in whole if isinstance(e, StepCompleted)]
    total = steps[-1].total_steps
    assert [e.step for e in steps] == list(range(1, total + 1))
    assert all(math.isfinite(loss) for e in steps for loss in e.losses.values())
    reference = load_checkpoint(tmp_path / "whole")
    assert all(bool(t.isfinite().all()) for t in reference.tensors.values())
    for stop in {min(2, total - 1), total - 1 if "image" not in name else 2}:
        folder = tmp_path / f"parts-{stop}"
        cancelled = play(command, config, folder, cancel_at=stop)
        assert isinstance(cancelled[-1], JobCancelled), cancelled[-1]
        assert (cancelled[-1].step, cancelled[-1].checkpoint.name) == (stop, f"step-{stop:06d}")
        resumed = play(command, config, folder)
        assert isinstance(resumed[-1], JobFinished), resumed[-1]
        again = load_checkpoint(folder)
        assert again.meta.step == total
        assert same(reference.tensors, again.tensors)
        assert same(reference.train_state, again.train_state)
        assert not list(folder.rglob("*.partial"))


# reading frames may take minutes and can be cancelled: see test_prediction and test_translator
READ_FRAMES = ("detector", "translator")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(READ_FRAMES)])
def test_cancelling_at_once_leaves_a_model_that_can_be_used(name, workshop, play, tmp_path):
    command, config = rows(workshop)[name]
    events = play(command, config, tmp_path, cancel_at=0)
    assert isinstance(events[-1], JobCancelled), events[-1]
    assert sum(isinstance(e, TERMINAL) for e in events) == 1
    assert [e.step for e in events if isinstance(e, CheckpointSaved)] == [0]
    used(command, tmp_path, workshop)


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("adapt energy", 1),
        ("adapt energy", 3),
        ("adapt ot", 2),
        ("adapt ot", 5),
        ("adapt image, energy", 2),
        ("keypoint prior", 3),
        ("image prior, demod", 1),
    ],
)
def test_a_cancelled_run_leaves_a_model_that_can_be_used(name, at, workshop, play, tmp_path):
    command, config = rows(workshop)[name]
    events = play(command, config, tmp_path, cancel_at=at)
    assert isinstance(events[-1], JobCancelled), events[-1]
    used(command, tmp_path, workshop)


def steps_of(events):
    return [e.step for e in events if isinstance(e, StepCompleted)]


def used(command, folder, shop):
    """Sample from, or read with, what a run left."""
    if command == "train-regressor":
        model, skeleton, style = load_regressor(folder)
        keypoints, confidence = model(torch.zeros(2, 3, style.size, style.size))
        assert keypoints.shape == (2, skeleton.num_joints, 2)
        assert confidence.shape == (2, skeleton.num_joints)
        return
    if command == "train-vae":
        model, skeleton = load_vae(folder)
        assert model.score(torch.zeros(2, skeleton.num_joints, 2)).shape == (2,)
        return
    if command == "train-detector":
        detector = load_detector(folder)
        found = detector.read(torch.zeros(2, 3, detector.size, detector.size))
        assert found.keypoints.shape == (2, 15, 2)
        assert ((found.mass >= 0) & (found.mass <= 1)).all()
        return
    poses = PoseSampler(load_model(folder, regressor=shop.beta)).draw(
        30, torch.Generator().manual_seed(0)
    )
    assert poses.shape == (30, 5, 2)
    assert poses.isfinite().all()


@pytest.mark.parametrize("name", ["keypoint prior", "adapt energy"])
def test_stopping_early_finishes_with_what_there_is(name, workshop, tmp_path):
    command, config = rows(workshop)[name]
    cancel = CancelToken()
    events = []
    for event in guarded(resolve(find_command(command).target)(config, RunDir(tmp_path), cancel)):
        events.append(event)
        if isinstance(event, StepCompleted) and event.step == 2:
            cancel.cancel(keep=True)
    assert isinstance(events[-1], JobFinished)
    assert steps_of(events) == [1, 2]
    used(command, tmp_path, workshop)


def test_the_seed_decides_everything(workshop, play, tmp_path):
    tensors = []
    for i, seed in enumerate((0, 0, 1)):
        play("train-prior", workshop.prior(seed=seed, steps=2), tmp_path / str(i))
        tensors.append(load_checkpoint(tmp_path / str(i)).tensors)
    assert same(tensors[0], tensors[1])
    assert not same(tensors[0], tensors[2])
