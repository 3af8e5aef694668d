"""Experiments as data: every one can be read, the small scale of each runs, and goes on."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import scipy.io
import yaml

from flexpose.configs.experiment import ReproduceConfig, SourceSpec, TargetSpec
from flexpose.errors import ConfigError, FlexPoseError, UnknownNameError
from flexpose.events import JobCancelled, JobFailed, JobFinished, StepCompleted
from flexpose.experiments import cells
from flexpose.experiments.cells import Bench, Cell, joined
from flexpose.experiments.domains import (
    Target,
    below,
    digest_of,
    frames_folder,
    load_target,
    one_a_frame,
)
from flexpose.experiments.reproduce import load_experiment, markdown, run
from flexpose.frames import open_frames
from flexpose.io import read_poses, write_poses
from flexpose.jobs import CancelToken, guarded
from flexpose.mannequin.faces import face_frames
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.shipped import experiments
from flexpose.skeleton import load_skeleton

TINY = {
    "title": "Tiny",
    "about": "Two rows.",
    "rows": [
        {"name": "mixup only", "recipe": "mixup", "paper": {"PCK": 0.5}},
        {
            "name": "adapted, a bit",
            "recipe": "adapt",
            "settings": {"weighting": {"enabled": False}},
        },
    ],
    "scales": {
        "smoke": {
            "about": "On the mannequin.",
            "seeds": [0, 1],
            "size": 60,
            "sources": {"coco": {"prior": "body15"}},
            "targets": {"mannequin": {"title": "COCO to the mannequin"}},
            "settings": {"adapt": {"steps": 2}},
        }
    },
}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


def reproduce(experiment, out, cancel_after=None, **values):
    config = ReproduceConfig(experiment=str(experiment), device="cpu", threads=1, **values)
    folder = RunDir(out)
    out.mkdir(parents=True, exist_ok=True)
    token = CancelToken(folder)
    events = []
    for event in guarded(run(config, folder, token)):
        events.append(event)
        steps = sum(isinstance(e, StepCompleted) for e in events)
        if cancel_after is not None and steps >= cancel_after:
            token.cancel()
    return events


def test_the_paper_s_tables_and_figures_are_there():
    names = {
        "table1",
        "table2",
        "fig2",
        "fig3",
        "fig4",
        "baselines",
        "faces",
        "domains",
        "meta",
        "choices",
    }
    assert names <= set(experiments())


@pytest.mark.parametrize("name", sorted(experiments()))
def test_every_experiment_has_its_three_scales_and_sources_that_exist(name):
    spec = load_experiment(name)
    assert set(spec.scales) == {"smoke", "reduced", "full"}
    named = {row.name for row in spec.rows}
    assert len(named) == len(spec.rows)
    used = set()
    for scale, values in spec.scales.items():
        bench = Bench(spec, ReproduceConfig(experiment=name, scale=scale), None)
        used |= {cell.row for cell in bench.cells}
        assert len({cell.folder for cell in bench.cells}) == len(bench.cells)
        assert set(values.rows) <= named
        for target in values.targets.values():
            assert target.source is None or target.source in values.sources
    assert used == named  # no row that no scale runs


@pytest.mark.parametrize("name", sorted(experiments()))
def test_the_small_scale_runs_without_data(name, tmp_path):
    events = reproduce(name, tmp_path / "out")
    assert isinstance(events[-1], JobFinished), events[-1]
    spec = load_experiment(name)
    report = (tmp_path / "out" / f"{name}-smoke.md").read_text(encoding="utf-8")
    cells_done = json.loads((tmp_path / "out" / f"{name}-smoke.json").read_text())["cells"]
    rows = {cell["row"] for cell in cells_done}
    assert rows
    assert all(row.replace("|", "\\|") in report for row in rows)
    assert all(cell["metrics"] for cell in cells_done)
    of_shots = [
        c["metrics"]
        for c in cells_done
        if c["row"] in ("shots alone", "detector of the shots alone")
    ]
    assert not any("energy_distance" in figures for figures in of_shots)  # a dozen poses
    if spec.figure != "none":
        stem = "curve" if spec.figure == "curve" else f"{spec.figure}-1"
        assert (tmp_path / "out" / f"{stem}.png").stat().st_size > 5000
        assert (tmp_path / "out" / f"{stem}.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_rows_seeds_and_the_paper_s_numbers_come_into_the_table(tiny, tmp_path):
    events = reproduce(tiny, tmp_path / "out")
    assert events[-1].result == tmp_path / "out" / "tiny-smoke.md"
    text = events[-1].result.read_text(encoding="utf-8")
    header, _rule, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert header.split("|")[-2].strip() == "paper: PCK"
    assert [row.split("|")[1].strip() for row in rows] == ["mixup only", "adapted, a bit"]
    assert rows[0].split("|")[-2].strip().replace("**", "") == "0.500"
    assert "±" in rows[1]
    assert "seeds 0, 1" in text


def test_several_targets_are_told_side_by_side_when_all_is_done(tmp_path):
    spec = json.loads(json.dumps(TINY))
    spec["rows"].append({"name": "here only", "recipe": "mixup", "targets": ["mannequin"]})
    spec["scales"]["smoke"]["targets"]["other"] = {"title": "another", "draw": {"seed": 1}}
    bench = bench_of(tmp_path, spec)
    results = [
        {
            "target": cell.target,
            "row": cell.row,
            "seed": cell.seed,
            "metrics": {"energy_distance": 0.25 if cell.target == "other" else 0.5},
        }
        for cell in bench.cells
    ]
    text = markdown(bench, results)
    table = text[text.index("## All targets") : text.index("## COCO to the mannequin")]
    assert "energy, another ↓ | mean energy ↓" in table
    assert "| here only | **0.500** ± 0.000 |  |  |" in table
    assert "| mixup only | **0.500** ± 0.000 | **0.250** ± 0.000 | **0.375** ± 0.000 |" in table
    assert "## All targets" not in markdown(bench, results[:-1])


@pytest.mark.parametrize(("mixups", "count"), [(20, 20), (0.25, 15), (0, 30)])
def test_direct_is_source_poses_with_its_share_of_mixups(tmp_path, mixups, count):
    rows = [{"name": "direct", "recipe": "direct", "mixups": mixups}]
    path = tmp_path / "direct.yaml"
    path.write_text(yaml.safe_dump({**TINY, "rows": rows}), encoding="utf-8")
    config = ReproduceConfig(experiment=str(path), device="cpu", threads=1)
    bench = Bench(load_experiment(str(path)), config, tmp_path / "out")
    cell = bench.cells[0]
    made, source = bench.poses(cell, CancelToken(RunDir(tmp_path))), bench.source_poses(cell)
    assert made.shape == (60, 15, 2)
    known = [bool((np.abs(source - pose).max(axis=(1, 2)) == 0).any()) for pose in made]
    assert known == [True] * (60 - count) + [False] * count


def test_only_some_rows_and_seeds_are_run_when_asked(tiny, tmp_path):
    reproduce(tiny, tmp_path / "out", rows=("mixup",), seeds=(3,))
    done = json.loads((tmp_path / "out" / "tiny-smoke.json").read_text())["cells"]
    assert [(cell["row"], cell["seed"]) for cell in done] == [("mixup only", 3)]


def test_a_cancelled_experiment_goes_on_where_it_stopped(tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    events = reproduce(tiny, out, cancel_after=2)
    assert isinstance(events[-1], JobCancelled)
    measured = []
    real = cells.Bench._measured
    monkeypatch.setattr(
        cells.Bench,
        "_measured",
        lambda bench, cell, *rest: measured.append(cell) or real(bench, cell, *rest),
    )
    assert isinstance(reproduce(tiny, out)[-1], JobFinished)
    assert len(measured) == 2  # of four
    measured.clear()
    again = json.loads((out / "tiny-smoke.json").read_text())
    assert isinstance(reproduce(tiny, out)[-1], JobFinished)
    assert measured == []
    assert json.loads((out / "tiny-smoke.json").read_text()) == again


def test_cancelled_within_a_cell_it_ends_as_cancelled(tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    real = cells.Bench.adapted

    def cancelled_meanwhile(bench, cell, cancel):
        cancel.cancel()
        return real(bench, cell, cancel)

    monkeypatch.setattr(cells.Bench, "adapted", cancelled_meanwhile)
    events = reproduce(tiny, out, rows=("adapted",))
    assert isinstance(events[-1], JobCancelled), events[-1]
    monkeypatch.undo()
    assert isinstance(reproduce(tiny, out, rows=("adapted",))[-1], JobFinished)


def test_a_cell_whose_settings_changed_is_done_anew(tiny, tmp_path):
    out = tmp_path / "out"
    reproduce(tiny, out, rows=("adapted",), seeds=(0,))
    before = json.loads((out / "tiny-smoke.json").read_text())["cells"][0]["metrics"]
    changed = {**TINY, "rows": [{**TINY["rows"][1], "shots": 5}]}
    tiny.write_text(yaml.safe_dump(changed), encoding="utf-8")
    reproduce(tiny, out, seeds=(0,))
    assert json.loads((out / "tiny-smoke.json").read_text())["cells"][0]["metrics"] != before


def test_several_processes_give_what_one_gives(tiny, tmp_path):
    one = reproduce(tiny, tmp_path / "one", rows=("mixup",))
    two = reproduce(tiny, tmp_path / "two", rows=("mixup",), workers=2)
    assert isinstance(one[-1], JobFinished)
    assert isinstance(two[-1], JobFinished), two[-1]
    reports = [json.loads((tmp_path / n / "tiny-smoke.json").read_text()) for n in ("one", "two")]
    alone, together = ([cell["metrics"] for cell in report["cells"]] for report in reports)
    assert alone == together


def test_cells_run_as_jobs_of_a_cluster(tiny, tmp_path):
    pytest.importorskip("submitit")
    asked = {"cluster": "local", "cluster_settings": {"timeout_min": 5}}
    events = reproduce(tiny, tmp_path / "out", rows=("mixup",), seeds=(0,), **asked)
    assert isinstance(events[-1], JobFinished), events[-1]
    done = json.loads((tmp_path / "out" / "tiny-smoke.json").read_text())["cells"]
    assert [(cell["row"], cell["seed"]) for cell in done] == [("mixup only", 0)]
    assert list((tmp_path / "out" / "cluster").iterdir())


def test_missing_data_and_names_are_said(tmp_path, tiny):
    with pytest.raises(UnknownNameError, match="table1"):
        load_experiment("table3")
    with pytest.raises(FlexPoseError, match="no folder of data"):
        below(None, tmp_path.relative_to("/"))
    with pytest.raises(FlexPoseError, match=r"not-there\.npz is not there"):
        below(tmp_path, type(tmp_path)("not-there.npz"))
    events = reproduce(tiny, tmp_path / "out", scale="full")
    assert isinstance(events[-1], JobFailed)
    assert isinstance(events[-1].error, ConfigError)
    events = reproduce("baselines", tmp_path / "out2", scale="reduced")
    assert "needs" in str(events[-1].error)


def test_settings_are_joined_at_every_depth():
    own = {"steps": 5, "transfer": {"layers": [2], "pairs": {"steps": 9}}}
    over = {"transfer": {"pairs": {"steps": 1}}, "batch": 3}
    assert joined(own, over) == {
        "steps": 5,
        "batch": 3,
        "transfer": {"layers": [2], "pairs": {"steps": 1}},
    }
    assert own["transfer"]["pairs"]["steps"] == 9


def test_cells_lie_in_folders_with_plain_names():
    assert Cell("golf", "6: layers 1 & 3 (tau)", 2).folder == "cells/golf/6-layers-1-3-tau/seed-2"


def test_shots_and_test_poses_are_of_other_clips():
    spec = load_experiment("baselines").scales["smoke"]
    from flexpose.skeleton import load_skeleton

    body = load_skeleton("body15")
    target = load_target("mannequin", spec.targets["mannequin"], None, body, None, False)
    assert isinstance(target, Target)
    assert not set(target.train.groups) & set(target.test.groups)
    assert len(target.shots(12, 0)) == 12
    assert target.shots(12, 0).image_ids == target.shots(12, 0).image_ids
    assert target.shots(12, 0).image_ids != target.shots(12, 1).image_ids


def test_what_the_reader_calls_a_group_is_on_one_side(tmp_path):
    spec = load_experiment("baselines").scales["reduced"].targets["golf"]
    assert spec.read["by_video"]
    clips = [f"golf/v{number % 8}_golf_f_nm_np1_fr_med_{number // 8}" for number in range(32)]
    n, skeleton = len(clips), load_skeleton("jhmdb15")
    joints = np.random.default_rng(0).uniform(10, 200, (n, 15, 2))
    np.savez(
        tmp_path / "poses.npz",
        clip=np.array(clips),
        frame=np.zeros(n, int),
        joints=joints,
        joint_names=np.array(skeleton.joints),
        clips=np.array(clips),
        grade=np.array(["A"] * n),
    )
    sides = []
    for by_video in (False, True):
        spec = TargetSpec(poses=Path("poses.npz"), read={"by_video": by_video})
        target = load_target("golf", spec, tmp_path, load_skeleton("body15"), tmp_path, False)
        assert len(target.train) + len(target.test) == n
        videos = (
            {str(g).split("_")[0] for g in part.groups} for part in (target.train, target.test)
        )
        sides.append(set.intersection(*videos))
    assert sides[0]  # clip by clip, videos teach and test
    assert not sides[1]


def test_a_prior_of_other_settings_is_another(tmp_path):
    few, many = (SourceSpec(poses=(Path("a.npz"),), train={"steps": steps}) for steps in (10, 20))
    assert digest_of(few) == digest_of(few.model_copy())
    assert digest_of(few) != digest_of(many)


def faces_as_released(data):
    """A clip of 300-VW and both lists of WFLW with their pictures, of drawn faces."""
    source = face_frames(1, people=1, frames=40, image_size=96)
    annot, pictures = data / "300vw/001/annot", data / "300vw/001/imgs"
    for row, pose in enumerate(source.poses.keypoints):
        annot.mkdir(parents=True, exist_ok=True)
        pictures.mkdir(parents=True, exist_ok=True)
        points = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in pose)
        text = f"version: 1\nn_points: 68\n{{\n{points}\n}}\n"
        (annot / f"{row + 1:06d}.pts").write_text(text, encoding="utf-8")
        cv2.imwrite(str(pictures / f"{row + 1:06d}.png"), source.image(row)[..., ::-1])
    target = face_frames(0, people=4, frames=6, image_size=96, yaw_deg=30)
    names = load_skeleton("wflw98").joints
    lists = data / "wflw/WFLW_annotations/list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    lines = []
    for row, pose in enumerate(target.poses.keypoints):
        at = dict(zip(target.poses.skeleton.joints, pose, strict=True))
        points, last = [], pose[0]
        for name in names:
            last = at.get(name, last)
            points += [f"{value:.4f}" for value in last]
        image = f"0--Parade/{row:03d}.jpg"
        box = [str(round(float(v))) for v in (*pose.min(axis=0), *pose.max(axis=0))]
        lines.append(" ".join([*points, *box, *"000000", image]))
        path = data / "wflw/WFLW_images" / image
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), target.image(row)[..., ::-1])
    for part, rows in (("train", lines[:18]), ("test", lines[18:])):
        path = lists / f"list_98pt_rect_attr_{part}.txt"
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.mark.slow
def test_the_full_scale_of_faces_reads_300vw_and_wflw_as_released(tmp_path):
    faces_as_released(tmp_path / "data")
    spec = yaml.safe_load(experiments()["faces"].read_text(encoding="utf-8"))
    full = spec["scales"]["full"]
    full["sources"]["300vw"]["train"] |= {"steps": 10, "batch_size": 8, "evaluate_every": 10}
    gan = {"channels": 1, "reader_steps": 2, "supervised_weight": 0}
    small = {"method": "keypoint-gan", "size": 32, "width": 4, "steps": 2, "batch_size": 4}
    full["settings"] = {"adapt": {"steps": 2}, "train-detector": {**small, "gan": gan}}
    full |= {"size": 1100, "rows": ["FlexPose default"], "seeds": [0]}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    out = tmp_path / "out"
    events = reproduce(path, out, scale="full", data=tmp_path / "data")
    assert isinstance(events[-1], JobFinished), events[-1]
    (cell,) = json.loads((out / "small-full.json").read_text())["cells"]
    assert cell["metrics"]["nme_percent"] > 0
    assert "6 test poses" in (out / "small-full.md").read_text(encoding="utf-8")


# ------------------------------------------------------------ labelled pictures

FRAME = {"clips_per_action": 1, "frames_per_clip": 2, "image_size": 48}
ADAPTING = {
    "title": "Adapting",
    "about": "Pictures.",
    "rows": [
        {"name": "one", "recipe": "uda", "start": "known", "settings": {"method": "source-only"}},
        {"name": "two", "recipe": "uda", "start": "known", "settings": {"method": "regda"}},
        {"name": "three", "recipe": "finetune", "start": "known", "shots": 4},
    ],
    "scales": {
        "smoke": {
            "about": "On the mannequin.",
            "measure": "pictures",
            "sources": {"here": {"pictures": {"draw": FRAME}}},
            "targets": {
                "there": {
                    "draw": {**FRAME, "seed": 1},
                    "settings": {"train-uda": {"steps": 9, "width": 8, "lr": 0.5}},
                }
            },
            "starts": {"known": {"settings": {"method": "source-only", "steps": 4}}},
            "settings": {
                "train-uda": {"size": 32, "width": 4, "steps": 2, "augment": {"mirror": False}},
                "train-uda regda": {"pretrain_steps": 0, "augment": {"shift": 0}},
                "finetune": {"steps": 2},
            },
        }
    },
}


def bench_of(tmp_path, spec=ADAPTING, **values):
    path = tmp_path / "adapting.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    config = ReproduceConfig(experiment=str(path), device="cpu", threads=1, **values)
    return Bench(load_experiment(str(path)), config, tmp_path / "out")


def test_rows_go_on_from_one_training_a_seed(tmp_path):
    bench = bench_of(tmp_path)
    first, second, third = bench.cells[:3]
    other = bench.cells[3]
    (asked, folder), (_, same), (_, also) = map(bench.lessons.start, (first, second, third))
    assert asked["settings"]["steps"] == 4  # its own, before those of the scale and the target
    assert asked["settings"]["lr"] == 0.5
    assert folder == same == also
    assert bench.lessons.start(other)[1] == folder.with_name("seed-1")
    changed = json.loads(json.dumps(ADAPTING))
    changed["scales"]["smoke"]["starts"]["known"]["settings"]["steps"] = 5
    assert bench_of(tmp_path, changed).lessons.start(first)[1] != folder


def test_settings_of_a_method_go_before_those_of_the_command_and_the_target(tmp_path):
    bench = bench_of(tmp_path)
    settings = bench.lessons._settings(bench.cells[1], "train-uda")
    assert settings == {
        "method": "regda",
        "lr": 0.5,
        "size": 32,
        "width": 4,
        "steps": 2,
        "pretrain_steps": 0,
        "augment": {"mirror": False, "shift": 0},
    }


def test_files_of_settings_lie_below_the_data_folder(tmp_path):
    spec = json.loads(json.dumps(ADAPTING))
    weights = {"backbone_weights": "{data}/weights/net.pth"}
    spec["scales"]["smoke"]["settings"]["train-uda"]["network"] = weights
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/net.pth").touch()
    bench = bench_of(tmp_path, spec, data=tmp_path)
    found = bench.lessons._settings(bench.cells[0], "train-uda")["network"]
    assert found == {"backbone_weights": tmp_path / "weights/net.pth"}
    bench = bench_of(tmp_path, spec)
    with pytest.raises(FlexPoseError, match="no folder of data"):
        bench.lessons._settings(bench.cells[0], "train-uda")


def test_a_row_without_its_start_learns_from_nothing_and_cannot_be_tuned(tmp_path):
    spec = json.loads(json.dumps(ADAPTING))
    spec["scales"]["full"] = spec["scales"]["smoke"] | {"starts": {}}
    bench = bench_of(tmp_path, spec, scale="full")
    assert bench.lessons.start(bench.cells[0]) == ({}, None)
    with pytest.raises(ConfigError, match="the start 'known', which the scale has not"):
        bench.lessons.start(bench.cells[2])


def test_rows_that_go_with_nothing_of_their_scale_are_refused(tmp_path):
    spec = json.loads(json.dumps(ADAPTING))
    spec["rows"][0]["start"] = "knwon"
    with pytest.raises(ConfigError, match="one starts from 'knwon'; scales have known"):
        bench_of(tmp_path, spec)
    spec["rows"][0] |= {"start": "known", "recipe": "mixup"}
    with pytest.raises(ConfigError, match="the recipe mixup, its scale the measure pictures"):
        bench_of(tmp_path, spec)
    spec["rows"][0]["recipe"] = "uda"
    spec["scales"]["smoke"]["sources"] = {"coco": {"prior": "body15"}}
    with pytest.raises(ConfigError, match="The source coco has no pictures"):
        bench_of(tmp_path, spec).lessons._source_frames(Cell("there", "one", 0))


def test_cells_of_earlier_experiments_ask_what_they_asked(tiny, tmp_path):
    config = ReproduceConfig(experiment=str(tiny), device="cpu", threads=1)
    bench = Bench(load_experiment(str(tiny)), config, tmp_path)
    asked = bench._asked(bench.cells[0])
    assert set(asked) == {"row", "source", "target", "size", "settings", "measure"}
    assert not {"start", "line", "paper"} & set(asked["row"])
    assert set(asked["source"]) == {"prior", "poses", "sample", "train"}
    assert not {"draw", "photographs", "most", "settings"} & set(asked["target"])
    adapting = bench_of(tmp_path)
    asked = adapting._asked(adapting.cells[0])
    assert asked["row"]["start"] == "known"
    assert asked["source"]["pictures"]["draw"] == FRAME
    assert asked["start"]["settings"]["steps"] == 4


def write_video(path, count, size=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for number in range(count):
            pixels = np.full((size, size, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def test_frames_of_videos_become_pictures_once_and_clips_without_video_are_left_out(tmp_path):
    body = load_skeleton("body15")
    clips = ["golf/a.avi"] * 3 + ["golf/b.avi"] * 3 + ["walk/c.avi"] * 2
    names = [f"{clip}/{number % 3:06d}.png" for number, clip in enumerate(clips)]
    points = np.random.default_rng(0).uniform(2, 45, (8, 15, 2))
    poses = PoseSet.create(body, points, (48, 48), image_ids=tuple(names), groups=tuple(clips))
    write_poses(poses, tmp_path / "labels.json")
    for clip in ("golf/a.avi", "golf/b.avi"):
        write_video(tmp_path / "videos" / clip, 4)
    spec = TargetSpec(poses="labels.json", frames="videos")
    target = load_target("t", spec, tmp_path, body, tmp_path / "made", True)
    assert {*target.train.groups, *target.test.groups} == {"golf/a.avi", "golf/b.avi"}
    assert target.frames == tmp_path / "made" == frames_folder(spec, tmp_path, tmp_path / "made")
    frames = open_frames(target.frames)
    assert list(frames.names) == names[:6]  # not the fourth of each, which no label is of
    assert abs(int(frames.read(1).mean()) - 20) < 4
    before = (target.frames / names[0]).stat().st_mtime_ns
    load_target("t", spec, tmp_path, body, tmp_path / "made", True)
    assert (target.frames / names[0]).stat().st_mtime_ns == before
    fewer = load_target("t", spec.model_copy(update={"most": 2}), tmp_path, body, tmp_path, True)
    assert len(fewer.train) == len(fewer.test) == 2


def test_of_two_people_in_a_frame_the_larger_is_kept():
    body = load_skeleton("body15")
    points = np.random.default_rng(0).uniform(0, 1, (4, 15, 2)) * [[[10]], [[40]], [[30]], [[20]]]
    boxes = [[0, 0, 10, 10], [0, 0, 5, 40], [0, 0, 30, 9], [0, 0, 20, 20]]
    poses = PoseSet.create(body, points, (48, 48), image_ids=("a", "a", "b", "b"), boxes=boxes)
    assert one_a_frame(poses).boxes[:, 3].tolist() == [40, 9]
    assert len(one_a_frame(PoseSet.create(body, points, (48, 48)))) == 4


def domains_as_released(data):
    """A few frames of SURREAL, LSP, RHD and Hand-3D-Studio, in the files that they come in."""
    random = np.random.default_rng(0)
    for clip in ("01_01/01_01_c0001", "02_05/02_05_c0001"):
        path = data / f"surreal/cmu/train/run0/{clip}_info.mat"
        write_video(path.with_name(f"{path.name.removesuffix('_info.mat')}.mp4"), 10, 96)
        joints = random.uniform(10, 80, (2, 24, 10)).round().astype(np.float32)
        scipy.io.savemat(path, {"joints2D": joints}, do_compression=True)
    joints = random.uniform(10, 80, (3, 14, 12))
    joints[2] = 0
    noise = random.integers(0, 255, (96, 96, 3)).astype(np.uint8)
    (data / "lsp_dataset/images").mkdir(parents=True)
    scipy.io.savemat(data / "lsp_dataset/joints.mat", {"joints": joints})
    for number in range(12):
        cv2.imwrite(str(data / f"lsp_dataset/images/im{number + 1:04d}.jpg"), noise)
    hands = {}
    (data / "RHD_published_v2/training/color").mkdir(parents=True)
    for number in range(20):
        uv = np.concatenate([random.uniform(10, 90, (42, 2)), np.ones((42, 1))], axis=1)
        hands[number] = {"uv_vis": uv, "xyz": np.ones((42, 3)), "K": np.eye(3)}
        cv2.imwrite(str(data / f"RHD_published_v2/training/color/{number:05d}.png"), noise)
    path = data / "RHD_published_v2/training/anno_training.pickle"
    path.write_bytes(pickle.dumps(hands, protocol=2))
    studio = []
    for number in range(12):
        name = f"part{number % 2 + 1}/{number}.jpg"
        (data / "H3D_crop" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(data / "H3D_crop" / name), noise)
        points = random.uniform(10, 80, (21, 2)).tolist()
        studio.append({"name": name, "without_object": 1, "keypoint2d": points})
    (data / "H3D_crop/annotation.json").write_text(json.dumps(studio), encoding="utf-8")


@pytest.mark.slow
def test_the_full_scale_of_domains_reads_its_datasets_as_released(tmp_path):
    domains_as_released(tmp_path / "data")
    spec = yaml.safe_load(experiments()["domains"].read_text(encoding="utf-8"))
    full = spec["scales"]["full"]
    full["settings"] = {
        "train-uda": {"size": 32, "width": 4, "steps": 2, "pretrain_steps": 1, "batch_size": 2}
    }
    for source in full["sources"].values():
        source["train"] = {"steps": 2, "width": 8, "latent": 2, **source.get("train", {})}
    full |= {"rows": ["RegDA + HM"], "seeds": [0], "bins": 3}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    out = tmp_path / "out"
    events = reproduce(path, out, scale="full", data=tmp_path / "data")
    assert isinstance(events[-1], JobFinished), events[-1]
    cells_done = json.loads((out / "small-full.json").read_text())["cells"]
    assert {cell["target"] for cell in cells_done} == {"lsp", "h3d"}
    assert all("eval_pose/3" in cell["metrics"] for cell in cells_done)
    text = (out / "small-full.md").read_text(encoding="utf-8")
    assert text.count("6 test poses") == 2
    assert read_poses(out / "made/rhd-pictures/labels.npz").skeleton.name == "hand21"
    assert (out / "bins-4.svg").exists()
