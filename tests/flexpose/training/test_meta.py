"""Reptile: the way it goes, its tasks, exact resuming; and fine-tuning from what it found."""

from __future__ import annotations

import copy

import pytest
import torch

from flexpose.checkpoint import load_checkpoint
from flexpose.configs.base import load_config, read_values
from flexpose.configs.detector import FramesConfig
from flexpose.configs.meta import FinetuneConfig, MetaConfig
from flexpose.errors import FlexPoseError, SkeletonMismatchError
from flexpose.events import JobFailed, JobFinished, StepCompleted
from flexpose.io import read_poses, write_poses
from flexpose.models.detector import Design, load_detector
from flexpose.shipped import preset
from flexpose.training.augment import mirrored
from flexpose.training.clips import load_clips, load_labels
from flexpose.training.meta import MetaTask


def settings(shop, **changes):
    labels = shop.frames / "mannequin.coco.json"
    values = {
        "frames": {"path": shop.frames, "crop": "boxes", "boxes": labels},
        "labels": labels,
        "validation": shop.path / "frames-shots.npz",
        "size": 32,
        "width": 4,
        "steps": 4,
        "batch_size": 2,
        "inner_steps": 2,
        "device": "cpu",
    }
    return MetaConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def crops(workshop):
    labels = workshop.frames / "mannequin.coco.json"
    clips = load_clips(FramesConfig(path=workshop.frames, crop="boxes", boxes=labels), 32)
    skeleton = read_poses(labels).skeleton
    return skeleton, clips, load_labels(labels, clips, skeleton)


def task_of(crops, shop, **changes):
    return MetaTask(settings(shop, **changes), *crops, None, torch.device("cpu"))


def weights(net):
    return [p.detach().clone() for p in net.parameters()]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_one_inner_step_of_sgd_is_sgd_with_the_product_of_both_rates(crops, workshop):
    changes = {"inner_steps": 1, "inner_optimizer": "sgd", "lr": 0.4, "meta_lr": 0.05}
    task = task_of(crops, workshop, **changes)
    seen = []
    plain, task._task = task._task, lambda random: seen.append(plain(random)) or seen[-1]
    other = copy.deepcopy(task.net)
    optimizer = torch.optim.SGD(other.parameters(), 0.4 * 0.05)
    for step in (1, 2, 3):
        task.step(step)
        ((images, keypoints),) = seen[-1]
        loss = task.loss(other(images), keypoints)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for reptile, sgd in zip(task.net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(reptile, sgd, atol=1e-6, rtol=1e-5)


def test_the_weights_go_a_part_of_the_way_to_those_of_the_task(crops, workshop):
    whole = task_of(crops, workshop, meta_lr=1.0)
    part = task_of(crops, workshop, meta_lr=0.25)
    before = weights(whole.net)
    whole.step(1)
    part.step(1)
    for start, end, found in zip(before, weights(whole.net), weights(part.net), strict=True):
        torch.testing.assert_close(found, torch.lerp(start, end, 0.25), atol=1e-6, rtol=1e-5)


def test_a_mean_of_one_task_is_the_task_and_of_two_their_mean(crops, workshop):
    single = task_of(crops, workshop)
    mean = task_of(crops, workshop, update="averaged", meta_batch=1)
    single.step(1)
    mean.step(1)
    assert same(single.net.state_dict(), mean.net.state_dict())
    task = task_of(crops, workshop, update="averaged", meta_batch=2, meta_lr=1.0)
    before, ends, inner = weights(task.net), [], task._inner

    def watched(batches):
        assert all(torch.equal(a, b) for a, b in zip(before, weights(task.net), strict=True))
        found = inner(batches)
        ends.append(weights(task.net))
        return found

    task._inner = watched
    task.step(1)
    for a, b, found in zip(*ends, weights(task.net), strict=True):
        torch.testing.assert_close(found, (a + b) / 2, atol=1e-6, rtol=1e-5)


def test_the_step_size_can_fall_to_nothing(crops, workshop):
    task = task_of(crops, workshop, meta_falls=True, meta_lr=0.8)
    rates = []
    for step in (1, 2, 3, 4):
        task.step(step)
        rates.append(task.lr)
    assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_batch_statistics_are_those_of_the_new_weights(crops, workshop):
    task = task_of(crops, workshop)
    fresh = copy.deepcopy(task.net)
    seen = []
    plain, task._task = task._task, lambda random: seen.append(plain(random)) or seen[-1]
    task.step(1)
    with torch.no_grad():
        for own, new in zip(fresh.parameters(), task.net.parameters(), strict=True):
            own.copy_(new)
        fresh(seen[0][0][0])
    assert same(fresh.state_dict(), task.net.state_dict())


def test_a_batch_stays_for_all_inner_steps_and_a_domain_gives_new_ones(crops, workshop):
    task = task_of(crops, workshop, inner_steps=3)
    first, *rest = task._task(torch.Generator().manual_seed(0))
    assert all(torch.equal(first[0], other[0]) for other in rest)
    task = task_of(crops, workshop, inner_steps=6, tasks="domains", augment=False)
    batches = task._task(torch.Generator().manual_seed(0))
    assert len({images.sum().item() for images, _ in batches}) > 1


@pytest.mark.parametrize("tasks", ["batches", "domains"])
def test_pictures_of_a_task_are_mirrored_and_tinted_unless_told_otherwise(crops, workshop, tasks):
    asked = {"tasks": tasks, "warps": (), "batch_size": 8, "inner_steps": 1}
    random = [torch.Generator().manual_seed(0) for _ in range(2)]
    ((plain, true),) = task_of(crops, workshop, augment=False, **asked)._task(random[0])
    task = task_of(crops, workshop, **asked)
    ((images, keypoints),) = task._task(random[1])
    assert not (images == plain).flatten(1).all(dim=1).any()
    there = (keypoints == true).flatten(1).all(dim=1)
    turned = (keypoints == mirrored(true, task.skeleton.flip_index)).flatten(1).all(dim=1)
    assert (there | turned).all()
    assert there.any()
    assert turned.any()


def test_a_domain_is_one_clip_under_one_warp(crops, workshop):
    _, clips, labels = crops
    task = task_of(crops, workshop, tasks="domains", batch_size=8)
    assert (len(task.groups), task.kinds) == (8, ("plain", "affine", "elastic", "perspective"))
    for domain in range(32):
        group = task.groups[domain // 4]
        plain = clips.batch(labels.rows[group])
        a, b = (task.domain_batch(domain, torch.Generator().manual_seed(s)) for s in (0, 1))
        pictures = {images.sum().item() for both in (a, b) for images in both[0]}
        assert len(pictures) == len(group) == 2  # two frames a clip, always under the same warp
        as_they_are = {images.sum().item() for images in plain}
        assert (pictures == as_they_are) == (domain % 4 == 0)


@pytest.mark.parametrize(
    "changes", [{}, {"tasks": "domains", "update": "averaged", "meta_batch": 2}]
)
def test_a_resumed_run_equals_an_uninterrupted_one(changes, workshop, play, tmp_path):
    config = settings(workshop, **changes)
    events = play("train-meta", config, tmp_path / "whole")
    assert isinstance(events[-1], JobFinished), events[-1]
    play("train-meta", config, tmp_path / "parts", cancel_at=2)
    play("train-meta", config, tmp_path / "parts")
    whole, parts = (load_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert same(whole.tensors, parts.tensors)
    assert load_detector(tmp_path / "whole").read(torch.zeros(1, 3, 32, 32)).mass.shape == (1, 15)


def finetune(shop, start, **changes):
    labels = shop.frames / "mannequin.coco.json"
    values = {
        "start": start,
        "frames": {"path": shop.frames, "crop": "boxes", "boxes": labels},
        "labels": labels,
        "validation": shop.path / "frames-shots.npz",
        "shots": 3,
        "steps": 3,
        "batch_size": 2,
        "device": "cpu",
    }
    return FinetuneConfig.model_validate({**values, **changes})


def test_few_shots_are_learned_from_given_weights(workshop, play, tmp_path, puppet_poses):
    play("train-meta", settings(workshop, steps=2, loss="kl"), tmp_path / "meta")
    drawn = []
    for seed in (0, 0, 1):
        folder = tmp_path / f"tuned-{len(drawn)}"
        events = play("finetune", finetune(workshop, tmp_path / "meta", seed=seed), folder)
        assert isinstance(events[-1], JobFinished), events[-1]
        drawn.append(read_poses(folder / "shots.npz").image_ids)
        losses = set().union(*(e.losses for e in events if isinstance(e, StepCompleted)))
        assert losses == {"labelled"}
    held_out = read_poses(workshop.path / "frames-shots.npz").image_ids
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(names) == 3 and not set(names) & set(held_out) for names in drawn)
    start, end = (load_checkpoint(tmp_path / name) for name in ("meta", "tuned-0"))
    assert Design.of(end.meta.config) == Design.of(start.meta.config)
    assert Design.of(end.meta.config).loss == "kl"
    assert load_detector(tmp_path / "tuned-0").read(torch.zeros(1, 3, 32, 32)).mass.shape == (1, 15)

    def refused(kind, text, **changes):
        events = play("finetune", finetune(workshop, tmp_path / "meta", **changes), tmp_path / "no")
        assert isinstance(events[-1], JobFailed), events[-1]
        assert isinstance(events[-1].error, kind)
        assert text in str(events[-1].error)

    refused(FlexPoseError, "labels 12 of the frames that are not held out", shots=13)
    poses = puppet_poses(2)
    write_poses(poses, tmp_path / "puppets.npz")
    refused(SkeletonMismatchError, "lack the joints", validation=tmp_path / "puppets.npz")


def test_the_practical_detector_starts_from_what_was_meta_learned(workshop, play, tmp_path):
    assert isinstance(play("train-meta", settings(workshop), tmp_path / "meta")[-1], JobFinished)
    before = load_checkpoint(tmp_path / "meta")
    config = workshop.detector(start=tmp_path / "meta", steps=1)
    assert isinstance(play("train-detector", config, tmp_path / "run")[-1], JobFinished)
    after = load_checkpoint(tmp_path / "run")
    assert Design.of(after.meta.config) == Design.of(before.meta.config)  # the loss is theirs
    apart = [
        float((after.tensors[name] - value).abs().max())
        for name, value in before.tensors.items()
        if name.endswith("weight")
    ]
    assert 0 < max(apart) < 0.05  # a step away, not a network of its own


def test_what_cannot_be_learned_is_told_in_a_sentence(workshop, play, tmp_path):
    labels = workshop.frames / "mannequin.coco.json"
    events = play("train-meta", settings(workshop, validation=labels), tmp_path / "a")
    assert "All 16 labelled frames are held out" in str(events[-1].error)
    events = play(
        "train-meta", settings(workshop, labels=workshop.path / "shots.npz"), tmp_path / "b"
    )
    assert "is among the frames" in str(events[-1].error)


def test_the_preset_holds_the_published_numbers():
    values = read_values(preset("train-meta", "paper"))
    config = load_config(MetaConfig, overrides={"frames": {"path": "f"}, "labels": "l", **values})
    assert (config.meta_lr, config.batch_size, config.steps) == (0.05, 32, 15000)
    assert (config.network.backbone, config.loss, config.update) == ("resnet50", "mse", "per-task")
