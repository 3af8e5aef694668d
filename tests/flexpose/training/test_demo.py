"""The demo from end to end, with few steps: all its files are there and hold what they should."""

from __future__ import annotations

import json

import pytest

from flexpose import demo
from flexpose.configs.adaptation import DemoConfig
from flexpose.io import read_poses
from flexpose.io.coco_check import check_coco
from flexpose.jobs import CancelToken, run_to_completion
from flexpose.runs import RunDir


@pytest.mark.slow
def test_the_demo_labels_all_frames_and_says_how_well(tmp_path):
    run = RunDir.create("demo", tmp_path / "demo")
    config = DemoConfig(n=60, detector_steps=3, device="cpu")
    said = run_to_completion(demo.run(config, run, CancelToken(run)))
    for name in ("1_shots", "2_prior", "3_adapted", "4_target", "5_labels"):
        assert (run.path / f"{name}.png").stat().st_size > 10_000
    assert len(read_poses(run.path / "poses.coco.json")) == 60
    labels = read_poses(run.path / "labels.coco.json")
    assert len(labels) == 576
    assert labels.confidence is not None
    assert not [f for f in check_coco(run.path / "labels.coco.json") if f.severity == "error"]
    figures = json.loads((run.path / "labels.json").read_text())
    assert figures["counts"]["poses"] == 564  # the twelve shots say nothing about a detector
    share = round(100 * figures["micro"]["pck@.1"])
    assert f"{share} of 100 joints lie within a tenth" in said
