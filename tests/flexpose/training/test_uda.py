"""Domain adaptation: what each method's steps do, exact resuming, samplers, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from flexpose.checkpoint import load_checkpoint
from flexpose.configs.base import load_config, read_values
from flexpose.configs.detector import FramesConfig, PredictConfig
from flexpose.configs.difficulty import VaeConfig
from flexpose.configs.uda import UdaConfig
from flexpose.difficulty import BIN_SAMPLERS, BinnedRows
from flexpose.errors import ConfigError, FlexPoseError, SkeletonMismatchError
from flexpose.events import JobFailed, JobFinished, MetricsReady, StepCompleted, WarningRaised
from flexpose.geometry import normalised
from flexpose.io import read_poses, write_poses
from flexpose.models.detector import Design, load_detector
from flexpose.models.maps import gaussians, gaussians_at
from flexpose.models.pose_vae import load_vae
from flexpose.poseset import PoseSet
from flexpose.shipped import preset
from flexpose.training.clips import load_clips, load_labels
from flexpose.training.heatmaps import HeatmapTask
from flexpose.training.reading import drawn_rows
from flexpose.training.uda.labelled import Domain, labelled
from flexpose.training.uda.regda import (
    RegDaTask,
    disparity,
    ground_false,
    pseudo_labels,
    scaled_gradient,
)
from flexpose.training.uda.udape import UdapeTask, consistency_loss, covered_joints

CPU = torch.device("cpu")


def settings(shop, **changes):
    labels = shop.frames / "mannequin.coco.json"
    values = {
        "source": {"path": shop.frames, "crop": "boxes", "boxes": labels},
        "labels": labels,
        "target": {"path": shop.frames, "crop": "whole"},
        "target_labels": labels,
        "validation": shop.path / "frames-shots.npz",
        "size": 32,
        "width": 4,
        "steps": 5,
        "pretrain_steps": 1,
        "batch_size": 2,
        "bins": 4,
        "udape": {"style_steps": 2, "occlude_from": -1.0},
        "device": "cpu",
    }
    return UdaConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def vae(workshop, play, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae") / "run"
    source = {"poses": workshop.frames / "mannequin.coco.json", "min_side": 0}
    config = VaeConfig.model_validate(
        {"source": source, "width": 8, "latent": 2, "steps": 2, "batch_size": 8, "device": "cpu"}
    )
    assert isinstance(play("train-vae", config, folder)[-1], JobFinished)
    return folder


@pytest.fixture(scope="module")
def crops(workshop):
    labels = workshop.frames / "mannequin.coco.json"
    clips = load_clips(FramesConfig(path=workshop.frames, crop="boxes", boxes=labels), 32)
    return clips, labels, read_poses(labels).skeleton


def task_of(kind, crops, shop, **changes):
    clips, path, skeleton = crops
    labels = load_labels(path, clips, skeleton)
    source = Domain(clips, labels.rows, labels.keypoints)
    target = Domain(clips, torch.arange(8))
    return kind(settings(shop, **changes), skeleton, source, target, labels, CPU)


# ------------------------------------------------------------ jobs


@pytest.mark.parametrize(
    ("method", "changes", "losses", "stops"),
    [
        ("source-only", {}, {"labelled"}, ()),
        ("oracle", {"sampling": "hm"}, {"labelled"}, ()),
        ("regda", {"network": {"head_layers": 2}}, {"labelled", "same", "false", "true"}, (1, 3)),
        (
            "udape",
            {"select": "target-test", "evaluate_every": 1},
            {"again", "content", "style", "labelled", "consistency", "peak"},
            (1, 3, 4),
        ),
    ],
)
def test_each_method_trains_a_detector_and_resumes_exactly(
    method, changes, losses, stops, workshop, play, tmp_path, vae
):
    config = settings(workshop, method=method, vae=vae, **changes)
    whole = play("train-uda", config, tmp_path / "whole")
    assert isinstance(whole[-1], JobFinished), whole[-1]
    steps = [e for e in whole if isinstance(e, StepCompleted)]
    assert [e.step for e in steps] == [1, 2, 3, 4, 5]
    assert set().union(*(e.losses for e in steps)) == losses
    assert all(math.isfinite(value) for e in steps for value in e.losses.values())
    reference = load_checkpoint(tmp_path / "whole")
    for stop in stops:
        folder = tmp_path / f"parts-{stop}"
        play("train-uda", config, folder, cancel_at=stop)
        assert isinstance(play("train-uda", config, folder)[-1], JobFinished)
        again = load_checkpoint(folder)
        assert same(reference.tensors, again.tensors)
        assert same(reference.train_state, again.train_state)
    detector = load_detector(tmp_path / "whole")
    found = detector.read(torch.zeros(2, 3, 32, 32))
    assert found.keypoints.shape == (2, 15, 2)
    assert ((found.mass >= 0) & (found.mass <= 1)).all()


def same(a, b):
    """Whether two nested values of tensors and plain data are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_result_predicts_and_another_training_starts_from_it(workshop, play, tmp_path):
    config = settings(workshop, method="source-only", steps=2)
    play("train-uda", config, tmp_path / "run")
    out = tmp_path / "found.json"
    predict = PredictConfig(
        model=tmp_path / "run",
        frames=FramesConfig(path=workshop.frames, crop="whole"),
        out=out,
        rounds=1,
        device="cpu",
    )
    assert isinstance(play("predict", predict, tmp_path / "predict")[-1], JobFinished)
    found = read_poses(out)
    assert found.complete.all()
    assert len(found) == 16
    further = workshop.detector(start=tmp_path / "run", steps=1, heatmaps={"puppets": 0})
    assert isinstance(play("train-detector", further, tmp_path / "further")[-1], JobFinished)
    assert Design.of(load_checkpoint(tmp_path / "further").meta.config) == Design.of(
        load_checkpoint(tmp_path / "run").meta.config
    )
    maps = {"puppets": 0, "loss": "kl"}
    other = workshop.detector(start=tmp_path / "run", steps=1, heatmaps=maps)
    failed(play("train-detector", other, tmp_path / "other"), FlexPoseError, "with the loss mse")


def test_the_best_network_on_the_target_is_kept_only_when_asked(
    workshop, play, tmp_path, monkeypatch
):
    figures = iter([0.5, 0.9, 0.1] * 2)

    def measure(read, clips, labels, start):
        read(labels.rows)
        return start, {"pck@.05": next(figures)}

    monkeypatch.setattr("flexpose.training.reading.measured", measure)
    kept = {}
    for select in ("target-test", "last"):
        config = settings(workshop, method="source-only", select=select, steps=3, evaluate_every=1)
        events = play("train-uda", config, tmp_path / select)
        kept[select] = load_checkpoint(tmp_path / select).tensors
        metrics = [e.metrics for e in events if isinstance(e, MetricsReady)]
        assert ("best pck@.05" in metrics[-1]) == (select == "target-test")
    two = settings(workshop, method="source-only", steps=3, checkpoint_every=2)
    play("train-uda", two, tmp_path / "two", cancel_at=2)
    second = load_checkpoint(tmp_path / "two").tensors
    name = "encoder.stages.0.0.0.weight"
    assert torch.equal(kept["target-test"][f"teacher.{name}"], second[f"net.{name}"])
    assert torch.equal(kept["last"][f"teacher.{name}"], kept["last"][f"net.{name}"])
    assert torch.equal(kept["last"][f"net.{name}"], kept["target-test"][f"net.{name}"])


def test_the_presets_hold_the_published_numbers():
    required = {"source": {"path": "s"}, "target": {"path": "t"}, "labels": "l"}
    regda, udape = (
        load_config(UdaConfig, overrides={**required, **read_values(preset("train-uda", name))})
        for name in ("regda-paper", "udape-paper")
    )
    assert (regda.network.backbone, regda.network.head_layers) == ("resnet101", 2)
    assert (regda.steps - regda.pretrain_steps, regda.regda.margin) == (15000, 4)
    assert (udape.lr, udape.udape.ema, udape.udape.mask_ratio) == (1e-4, 0.999, 0.5)
    shares = [(s * 70) for s in udape.lr_drops]
    np.testing.assert_allclose(shares, [45, 60], atol=0.05)
    assert udape.steps - udape.udape.style_steps == 70 * 500


@pytest.mark.parametrize(("method", "loss"), [("source-only", "kl"), ("regda", "mse")])
def test_a_method_goes_on_from_a_detector_of_its_loss(method, loss, workshop, play, tmp_path):
    first = settings(workshop, method="source-only", loss="kl", steps=2)
    assert isinstance(play("train-uda", first, tmp_path / "first")[-1], JobFinished)
    known = load_checkpoint(tmp_path / "first")
    assert known.meta.config["heatmaps"]["loss"] == "kl"
    still = {"lr": 1e-9} if method == "source-only" else {"regda": {"lr": 1e-9}}
    changes = {"method": method, "loss": loss, "start": tmp_path / "first", "pretrain_steps": 0}
    config = settings(workshop, **changes, **still, steps=1)
    assert isinstance(play("train-uda", config, tmp_path / "on")[-1], JobFinished)
    on = load_checkpoint(tmp_path / "on")
    weights = {
        name: value
        for name, value in known.tensors.items()
        if name.startswith("net.") and "running" not in name and value.is_floating_point()
    }
    for name, value in weights.items():
        torch.testing.assert_close(on.tensors[name], value, atol=1e-5, rtol=0)
    other = settings(workshop, method="udape", start=tmp_path / "first", steps=9)
    failed(play("train-uda", other, tmp_path / "other"), FlexPoseError, "learned with the loss kl")


def test_labels_are_mapped_to_the_skeleton_that_is_asked_for(workshop, play, tmp_path):
    arm = {
        "name": "arm",
        "joints": ["right_elbow", "right_wrist"],
        "edges": [["right_elbow", "right_wrist"]],
    }
    (tmp_path / "arm.yaml").write_text(yaml.safe_dump({**arm, "oks_sigmas": [0.1, 0.1]}))
    config = settings(workshop, method="source-only", skeleton=str(tmp_path / "arm.yaml"), steps=1)
    events = play("train-uda", config, tmp_path / "run")
    assert isinstance(events[-1], JobFinished), events[-1]
    found = load_detector(tmp_path / "run").read(torch.zeros(1, 3, 32, 32))
    assert found.keypoints.shape == (1, 2, 2)


def test_frames_with_two_people_are_refused(workshop, play, tmp_path):
    poses = read_poses(workshop.frames / "mannequin.coco.json")
    double = PoseSet.concat([poses, poses[:1]])
    write_poses(double, tmp_path / "double.npz")
    for name in ("labels", "validation"):
        config = settings(workshop, **{name: tmp_path / "double.npz"})
        events = play("train-uda", config, tmp_path / name)
        failed(events, FlexPoseError, f"labels 2 people in {poses.image_ids[0]}")


# ------------------------------------------------------------ what is drawn


def test_held_out_frames_teach_nothing_unless_asked(workshop, play, tmp_path, monkeypatch):
    seen = {}

    def watched(task, *args):
        names = task.target.clips.names
        seen[task.config.transductive] = {names[row] for row in task.target.rows}
        raise FlexPoseError("enough")

    monkeypatch.setattr(UdapeTask, "step", watched)
    for transductive in (False, True):
        play("train-uda", settings(workshop, transductive=transductive), tmp_path / "run")
    assert len(seen[True]) == 16
    held_out = set(read_poses(workshop.path / "frames-shots.npz").image_ids)
    assert seen[True] - seen[False] == held_out


def test_labels_are_drawn_by_the_difficulty_of_their_poses(crops, workshop, vae, tmp_path):
    clips, path, skeleton = crops
    none = np.zeros(0, np.intp)
    np.savez(tmp_path / "scores.npz", row=np.arange(1, 16), score=np.arange(15.0))
    config = settings(workshop, sampling="cl", scores=tmp_path / "scores.npz", bins=3)
    domain = labelled(config, clips, path, skeleton, none)
    assert (domain.left_out, len(domain.rows)) == (1, 15)
    names = read_poses(path).image_ids
    assert [clips.names[row] for row in domain.rows] == list(names[1:])
    random = torch.Generator().manual_seed(0)
    for progress, last in ((0.0, 5), (0.4, 10), (1.0, 15)):
        drawn = domain.draw(200, progress, random)
        assert set(drawn.tolist()) == set(range(last))
    hard = settings(workshop, sampling="hm", vae=vae, bins=4)
    often = labelled(hard, clips, path, skeleton, none).draw(4000, 0.0, random)
    by_vae = labelled(hard, clips, path, skeleton, none).binned
    shares = [np.isin(often.numpy(), rows).mean() for rows in by_vae.rows]
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.03)
    np.savez(tmp_path / "scores.npz", row=np.arange(20), score=np.arange(20.0))
    with pytest.raises(FlexPoseError, match="has 16 poses"):
        labelled(config, clips, path, skeleton, none)


def test_a_detector_draws_its_puppets_by_the_difficulty_of_their_poses(
    vae, workshop, play, tmp_path, monkeypatch
):
    seen = []
    labelled = HeatmapTask._labelled

    def watched(task, *args):
        seen.append(task.puppets)
        return labelled(task, *args)

    monkeypatch.setattr(HeatmapTask, "_labelled", watched)
    maps = {"puppets": 12, "sampling": "hm", "vae": vae, "bins": 4}
    for changes in ({"model": "body15", "poses": None, "num_poses": 40}, {}):  # adapted or given
        config = workshop.detector(heatmaps=maps, **changes)
        assert isinstance(play("train-detector", config, tmp_path / "run")[-1], JobFinished)
        puppets = seen[-1]
        model, _ = load_vae(vae)
        scores = model.score(torch.from_numpy(normalised(puppets.keypoints.numpy()))).numpy()
        easy_first = [scores[rows].mean() for rows in puppets.binned.rows]
        assert easy_first == sorted(easy_first)
        assert sorted(np.concatenate(puppets.binned.rows)) == list(range(len(puppets.images)))
        drawn = drawn_rows(12, puppets.binned, 4000, 0.0, torch.Generator().manual_seed(0))
        shares = [np.isin(drawn.numpy(), rows).mean() for rows in puppets.binned.rows]
        np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.03)
    config = workshop.detector(heatmaps={"puppets": 6, "sampling": "cl"})
    error = play("train-detector", config, tmp_path / "none")[-1].error
    assert "Name a run of train-vae" in error.hint


def test_a_domain_without_bins_is_drawn_alike(crops):
    clips, _, _ = crops
    domain = Domain(clips, torch.arange(4))
    drawn = domain.draw(4000, 0.5, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(np.bincount(drawn) / 4000, 0.25, atol=0.03)
    binned = Domain(clips, torch.arange(4), None, BinnedRows(np.arange(4), BIN_SAMPLERS["hm"]))
    a, b = (binned.draw(9, 0.5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)


# ------------------------------------------------------------ RegDA


def test_ground_false_maps_by_hand():
    truth = torch.zeros(1, 3, 1, 4)
    truth[0, 0, 0] = torch.tensor([1.0, 0.5, 0.0, 0.0])
    truth[0, 1, 0] = torch.tensor([0.0, 0.75, 1.0, 0.0])
    truth[0, 2, 0] = torch.tensor([0.0, 0.5, 0.0, 1.0])
    assert ground_false(truth)[0, :, 0].tolist() == [
        [0.0, 1.0, 1.0, 1.0],  # .75 + .5 is cut off at 1
        [1.0, 1.0, 0.0, 1.0],
        [1.0, 1.0, 1.0, 0.0],
    ]
    points = torch.tensor([[[2.0, 3.0], [9.0, 8.0]]])
    maps = gaussians(points, (12, 12)) * 7 - 1
    torch.testing.assert_close(pseudo_labels(maps), gaussians(points, (12, 12)))
    torch.testing.assert_close(ground_false(pseudo_labels(maps)), pseudo_labels(maps).flip(1))


def test_the_second_heads_gradient_is_scaled_on_its_way_back():
    features = torch.tensor([1.0, 2.0], requires_grad=True)
    (scaled_gradient(features, 0.25) * torch.tensor([4.0, 8.0])).sum().backward()
    assert features.grad.tolist() == [1.0, 2.0]
    assert torch.equal(scaled_gradient(features, 0.1), features)


def test_each_step_of_regda_changes_what_it_should(crops, workshop):
    changes = {"method": "regda", "network": {"head_layers": 2}, "batch_size": 4}
    task = task_of(RegDaTask, crops, workshop, **changes)
    images, keypoints = task.labelled_batch(1.0, torch.Generator().manual_seed(0))
    heads = {id(p) for p in task.net.out.parameters()}

    def weights():
        below = [p for p in task.net.parameters() if id(p) not in heads]
        parts = {
            "below": below,
            "head": task.net.out.parameters(),
            "second": task.second.parameters(),
        }
        return {name: [p.detach().clone() for p in part] for name, part in parts.items()}

    def changed(act):
        before = weights()
        act()
        after = weights()
        return {name for name in before if not same(before[name], after[name])}

    assert task._share(0) == 0
    assert task._share(10**6) == pytest.approx(0.1)
    assert changed(lambda: task._agree(images, keypoints, 2000)) == {"below", "head", "second"}
    assert changed(lambda: task._err(images, 2000)) == {"second"}
    assert changed(lambda: task._prevent(images, 2000)) == {"below"}


def test_the_second_head_learns_to_err_and_features_to_prevent_it(crops, workshop):
    changes = {"method": "regda", "batch_size": 4, "network": {"head_layers": 2}}
    task = task_of(RegDaTask, crops, workshop, **changes)
    images = task.target_batch(torch.Generator().manual_seed(0))
    wrong = [task._err(images, 0).item() for _ in range(8)]
    assert wrong[-1] < wrong[0]

    def right():
        features = task.net.features(images)
        return disparity(task.second(features), pseudo_labels(task.net.out(features))).item()

    before = right()
    for _ in range(8):
        task._prevent(images, 10**5)
    assert right() < before


# ------------------------------------------------------------ UDAPE


def test_only_the_surer_share_of_joints_is_taught():
    points = torch.tensor([[[3.0, 3.0], [8.0, 4.0]], [[5.0, 5.0], [6.0, 9.0]]])
    heights = torch.tensor([[0.9, 0.1], [0.5, 0.3]])
    taught = gaussians(points, (12, 12)) * heights[..., None, None]
    found = torch.zeros(2, 2, 12, 12, requires_grad=True)
    for ratio, sure in ((0.5, [[1, 0], [1, 0]]), (0.75, [[1, 0], [0, 0]]), (0.0, [[1, 1], [1, 1]])):
        loss = consistency_loss(found, taught, ratio)
        (gradient,) = torch.autograd.grad(loss, found)
        assert (gradient.abs().amax(dim=(2, 3)) > 0).long().tolist() == sure
    # the peaks are taught as Gaussians of height 1, whatever theirs is
    assert consistency_loss(gaussians(points, (12, 12)), taught, 0.0).item() == 0


def test_a_sure_joint_is_covered_where_the_student_sees_it(crops, workshop):
    config = settings(workshop, udape={"occlude_rate": 1.0, "occlude_size": 3 / 32})
    columns = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    view = torch.tensor([[[0.8, 0.0, 0.2], [0.0, 0.8, -0.1]]])
    place = torch.tensor([[[0.25, 0.5]]])
    taught = gaussians_at(place, (16, 16), 2)
    taught = taught / taught.amax()
    out = covered_joints(columns, taught, view, 2, config, torch.Generator().manual_seed(3))
    y, x = torch.nonzero((out != columns)[0, 0]).float().T
    centre = torch.stack([x.min() + x.max() + 1, y.min() + y.max() + 1]) / 2
    wanted = ((place[0, 0] * 0.8 + torch.tensor([0.2, -0.1])) + 1) / 2 * 31
    assert (centre - wanted).abs().max() < 1.6
    assert (x.max() - x.min() + 1, y.max() - y.min() + 1) == (6, 6)
    unsure = covered_joints(columns, taught / 2, view, 2, config, torch.Generator().manual_seed(3))
    assert torch.equal(unsure, columns)


def test_the_teacher_teaches_what_it_finds_in_the_plain_picture(crops, workshop):
    """A teacher that finds one bright dot teaches its place, however the picture was turned."""
    changes = {"udape": {"style_steps": 0}, "augment": {"rotation_deg": 60, "shear_deg": 20}}
    task = task_of(UdapeTask, crops, workshop, **changes)
    places = torch.tensor([[[0.3, -0.2]], [[-0.4, 0.1]]])
    dots = gaussians_at(places, (32, 32), 1).expand(2, 3, 32, 32) * 2 - 1

    class Finder(torch.nn.Module):
        def forward(self, images):
            return torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True) + 1, 2)

    task.teacher = Finder()
    taught = task._taught(dots, dots, torch.Generator().manual_seed(0))
    peaks = taught.flatten(2).argmax(dim=2)
    wanted = gaussians_at(places, (16, 16), 2).flatten(2).argmax(dim=2)
    away = (peaks % 16 - wanted % 16).abs().maximum((peaks // 16 - wanted // 16).abs())
    assert away.max() <= 1


def test_the_teachers_statistics_are_averaged_or_its_own(crops, workshop):
    def statistics(net):
        return {k: v.clone() for k, v in net.state_dict().items() if "running" in k}

    for kind in ("average", "upstream"):
        own = {"style_steps": 0, "teacher_buffers": kind, "ema": 0.5}
        task = task_of(UdapeTask, crops, workshop, udape=own, pretrain_steps=1)
        task.step(1)
        assert same(statistics(task.teacher), statistics(task.net))
        before, weight = statistics(task.teacher), task.teacher.out.weight.clone()
        task.step(2)
        student, teacher = statistics(task.net), statistics(task.teacher)
        average = {k: torch.lerp(before[k], student[k], 0.5) for k in before}
        assert same(teacher, average) == (kind == "average")
        assert not same(teacher, before)
        torch.testing.assert_close(
            task.teacher.out.weight, torch.lerp(weight, task.net.out.weight, 0.5)
        )


def test_bins_open_with_what_is_learned_after_the_looks(crops, workshop, monkeypatch):
    told, plain = [], Domain.draw

    def draw(domain, count, progress, random):
        if domain is task.source:
            told.append(progress)
        return plain(domain, count, progress, random)

    monkeypatch.setattr(Domain, "draw", draw)
    task = task_of(UdapeTask, crops, workshop, udape={"style_steps": 2}, pretrain_steps=1, steps=6)
    for step in range(1, 7):
        task.step(step)
    assert told == [1, 1, 0.25, 0.5, 0.75, 1]


# ------------------------------------------------------------ what is refused


def failed(events, kind, text):
    assert isinstance(events[-1], JobFailed), events[-1]
    assert isinstance(events[-1].error, kind), events[-1].details
    assert text in str(events[-1].error), str(events[-1].error)


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"sampling": "hm"}, ConfigError, "found neither"),
        ({"method": "oracle", "target_labels": None}, ConfigError, "oracle learns from labels"),
        ({"select": "target-test", "validation": None}, ConfigError, "target's test"),
        ({"method": "regda", "pretrain_steps": 5}, ConfigError, "none is left to adapt"),
        ({"labels": "shots.npz", "validation": None}, FlexPoseError, "is among the frames"),
        ({"validation": "puppets.npz"}, SkeletonMismatchError, "lack the joints"),
        ({"method": "oracle", "target_labels": "frames-shots.npz"}, FlexPoseError, "are held out"),
    ],
)
def test_bad_inputs_are_told_in_a_sentence(
    changes, kind, text, workshop, play, tmp_path, puppet_poses
):
    write_poses(puppet_poses(4), tmp_path / "puppets.npz")
    found = {
        name: next(p for p in (tmp_path / value, workshop.path / value) if p.exists())
        if isinstance(value, str) and value.endswith(".npz")
        else value
        for name, value in changes.items()
    }
    failed(play("train-uda", settings(workshop, **found), tmp_path / "run"), kind, text)


def test_labels_without_difficulty_are_named(workshop, play, tmp_path):
    np.savez(tmp_path / "scores.npz", row=np.arange(10), score=np.arange(10.0))
    config = settings(
        workshop, method="source-only", sampling="cl", scores=tmp_path / "scores.npz", steps=1
    )
    events = play("train-uda", config, tmp_path / "run")
    (warning,) = [e for e in events if isinstance(e, WarningRaised)]
    assert warning.message.startswith("6 labels have no difficulty")
    assert Path(events[-1].result).is_dir()
