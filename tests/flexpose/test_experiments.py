"""Experiments as data: every one can be read, the small scale of each runs, and goes on."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import yaml

from flexpose.configs.experiment import ReproduceConfig
from flexpose.errors import ConfigError, FlexPoseError, UnknownNameError
from flexpose.events import JobCancelled, JobFailed, JobFinished, StepCompleted
from flexpose.experiments import cells
from flexpose.experiments.cells import Bench, Cell, joined
from flexpose.experiments.domains import Target, below, load_target
from flexpose.experiments.reproduce import load_experiment, run
from flexpose.jobs import CancelToken, guarded
from flexpose.mannequin.faces import face_frames
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
    names = {"table1", "table2", "fig2", "fig3", "fig4", "baselines", "faces"}
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
    assert rows[0].split("|")[-2].strip().replace("**", "") == "0.500 ± 0.000"
    assert "±" in rows[1]
    assert "seeds 0, 1" in text


def test_direct_is_source_poses_with_its_share_of_mixups(tmp_path):
    rows = [{"name": "direct", "recipe": "direct", "mixups": 20}]
    path = tmp_path / "direct.yaml"
    path.write_text(yaml.safe_dump({**TINY, "rows": rows}), encoding="utf-8")
    config = ReproduceConfig(experiment=str(path), device="cpu", threads=1)
    bench = Bench(load_experiment(str(path)), config, tmp_path / "out")
    cell = bench.cells[0]
    made, source = bench.poses(cell, CancelToken(RunDir(tmp_path))), bench.source_poses(cell)
    assert made.shape == (60, 15, 2)
    known = [bool((np.abs(source - pose).max(axis=(1, 2)) == 0).any()) for pose in made]
    assert known == [True] * 40 + [False] * 20


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
