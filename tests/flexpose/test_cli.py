"""The command line: parsing, run folders, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import yaml
from PIL import Image
from pydantic import Field

from flexpose import commands
from flexpose.cli.__main__ import main
from flexpose.cli.progress import duration
from flexpose.commands import Command, ToolResult, resolve
from flexpose.configs.base import ConfigBase, JobConfig
from flexpose.errors import DeviceMemoryError, UnknownNameError
from flexpose.events import (
    CheckpointSaved,
    JobCancelled,
    JobFinished,
    JobStarted,
    MetricsReady,
    PhaseChanged,
    PreviewReady,
    StepCompleted,
    WarningRaised,
)
from flexpose.io import read_poses, write_poses
from flexpose.jobs import follow_run
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.skeleton import load_skeleton


class Plain(ConfigBase):
    kind: Literal["plain"] = "plain"
    width: int = Field(4, ge=1)


class Fancy(ConfigBase):
    kind: Literal["fancy"] = "fancy"
    height: int = Field(5, ge=1)


class Source(ConfigBase):
    poses: Path
    skeleton: str = "body15"


class ToyConfig(JobConfig):
    """A toy."""

    source: Source
    net: Annotated[Plain | Fancy, Field(discriminator="kind")] = Plain()
    steps: int = Field(3, ge=1, title="Steps")
    fail: Literal["no", "error", "memory", "cancel"] = "no"


class NoteConfig(ConfigBase):
    ok: bool = True


def toy(config, run, cancel):
    yield JobStarted("toy", config.steps, run.path)
    yield PhaseChanged("learning", config.steps)
    yield WarningRaised("odd", "Something is odd.", "Look at it.")
    for step in range(1, config.steps + 1):
        yield StepCompleted(step, config.steps, {"fit": 1 / step}, 0.1, 61.0)
    yield PreviewReady(step, np.zeros((1, 4, 4, 3), np.uint8))
    yield MetricsReady(step, {"energy": 0.5}, "val")
    yield CheckpointSaved(step, run.checkpoints / "step")
    if config.fail == "error":
        raise RuntimeError("boom")
    if config.fail == "memory":
        raise DeviceMemoryError("The device is full.", "Lower batch_size.")
    if config.fail == "cancel":
        yield JobCancelled(step)
        return
    yield JobFinished({"seed": config.seed})


def note(config):
    return ToolResult("a note", {"note": 1}, ok=config.ok)


@pytest.fixture
def toys(monkeypatch, tmp_path):
    module = types.ModuleType("flexpose_toys")
    module.ToyConfig, module.NoteConfig, module.toy, module.note = ToyConfig, NoteConfig, toy, note
    monkeypatch.setitem(sys.modules, "flexpose_toys", module)
    rows = (
        Command("toy", "flexpose_toys:ToyConfig", "flexpose_toys:toy", "play"),
        Command("note", "flexpose_toys:NoteConfig", "flexpose_toys:note", "say", is_job=False),
        Command("note twice", "flexpose_toys:NoteConfig", "flexpose_toys:note", "x", is_job=False),
    )
    monkeypatch.setattr(commands, "COMMANDS", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_of(capsys, *words):
    """What ``--dry-run`` prints for a command line."""
    assert main([*words, "--dry-run"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_without_a_command_the_overview_is_shown(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in commands.COMMANDS:
        assert f"{command.name} " in out
        assert command.help in out


def test_an_unknown_command_is_a_usage_error_with_a_guess(capsys):
    assert main(["convret"]) == 2
    assert "Did you mean 'convert'?" in capsys.readouterr().err


def test_flags_go_before_the_file_and_the_file_before_defaults(toys, capsys):
    (toys / "sub").mkdir()
    (toys / "sub/c.yaml").write_text("source: {skeleton: coco17}\nsteps: 7\nseed: 3\n")
    words = ["toy", "--config", "sub/c.yaml", "--seed", "9", "--source.poses", "p.npz"]
    found = settings_of(capsys, *words)
    assert (found["steps"], found["seed"], found["device"]) == (7, 9, "auto")
    assert found["source"] == {"poses": str(toys / "p.npz"), "skeleton": "coco17"}
    assert not (toys / "runs").exists()


def test_paths_of_the_file_count_from_its_folder(toys, capsys):
    (toys / "sub").mkdir()
    (toys / "sub/c.yaml").write_text("source: {poses: p.npz}\n")
    found = settings_of(capsys, "toy", "--config", "sub/c.yaml")
    assert found["source"]["poses"] == str(toys / "sub" / "p.npz")


def test_kinds_are_chosen_by_file_or_flag(toys, capsys):
    (toys / "c.yaml").write_text("source: {poses: p}\nnet: {kind: fancy, height: 8}\n")
    base = ["toy", "--config", "c.yaml"]
    assert settings_of(capsys, *base)["net"] == {"kind": "fancy", "height": 8}
    assert settings_of(capsys, *base, "--net.height", "9")["net"]["height"] == 9
    found = settings_of(capsys, *base, "--net.kind", "plain", "--net.width=2")
    assert found["net"] == {"kind": "plain", "width": 2}
    found = settings_of(capsys, *base, "--net.kind=fancy")
    assert found["net"] == {"kind": "fancy", "height": 8}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["toy"], 2, "--source.poses"),
        (["toy", "--source.poses", "p", "--stepz", "3"], 2, "--steps"),
        (["toy", "--source.poses", "p", "--steps", "x"], 2, "--steps"),
        (["toy", "--source.poses", "p", "--progress", "loud"], 2, "--progress"),
        (["toy", "--source.poses", "p", "--steps", "0"], 1, "steps: input should be greater"),
        (["toy", "--source.poses", "p", "--net.kind", "odd"], 1, "net: Unknown kind 'odd'"),
        (["toy", "--config", "none.yaml"], 1, "none.yaml cannot be read"),
        (["toy", "--config", "c.yaml"], 1, "c.yaml: Unknown setting 'source.pose'"),
        (["toy", "--resume"], 1, "--resume needs the folder"),
        (["toy", "--resume", "--out", "none"], 1, "cannot be read"),
        (["note", "--out", "c.yaml"], 1, "exists already"),
    ],
)
def test_wrong_lines_end_with_a_code_and_a_reason(words, code, message, toys, capsys):
    (toys / "c.yaml").write_text("source: {pose: p}\n")
    try:
        found = main(words)
    except SystemExit as error:
        found = error.code
    assert found == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not shown.out


def test_help_shows_settings_with_the_files_values(toys, capsys):
    (toys / "c.yaml").write_text("steps: 7\n")
    with pytest.raises(SystemExit) as info:
        main(["toy", "--config", "c.yaml", "--help"])
    assert info.value.code == 0
    out = capsys.readouterr().out
    for word in ("--resume", "--steps", "Steps. (default: 7)", "--source.poses", "--net.width"):
        assert word in out
    assert "--no-resume" not in out


def test_a_job_leaves_a_numbered_run(toys, capsys):
    assert main(["toy", "--source.poses", "p", "--seed", "4", "--progress", "none"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "{'seed': 4}\n"
    assert shown.err == "Warning: Something is odd. Look at it.\n"
    run = RunDir.open(toys / "runs" / "toy-0001")
    assert list(follow_run(run))[-1] == JobFinished({"seed": 4})
    assert yaml.safe_load(run.config_file.read_text())["source"]["poses"] == str(toys / "p")
    assert {p.name for p in run.path.iterdir()} == {
        *("config.yaml", "env.json", "process.json", "events.jsonl", "previews")
    }


def test_jsonl_prints_the_recorded_events(toys, capsys):
    assert main(["toy", "--source.poses", "p", "--out", "o", "--progress", "jsonl"]) == 0
    printed = capsys.readouterr().out
    assert printed == (toys / "o" / "events.jsonl").read_text()
    kinds = [json.loads(line)["event"] for line in printed.splitlines()]
    assert (kinds[0], kinds[-1]) == ("JobStarted", "JobFinished")


def test_the_bar_shows_losses_and_the_time_left(toys, capsys):
    assert main(["toy", "--source.poses", "p"]) == 0
    shown = capsys.readouterr()
    assert "Something is odd." in shown.err
    assert "energy 0.5" in shown.err
    assert shown.out == "{'seed': 0}\n"
    assert [duration(s) for s in (None, 5.2, 61, 7500)] == [
        *("", "5 s left", "1 min 01 s left", "2 h 05 min left")
    ]


@pytest.mark.parametrize(
    ("fail", "code", "message"),
    [
        ("error", 1, "Error: Something unforeseen ended the job (RuntimeError: boom).\n"),
        ("memory", 1, "Error: The device is full.\nLower batch_size.\n"),
        ("cancel", 130, "Cancelled after step 3."),
    ],
)
def test_exit_codes_of_jobs(fail, code, message, toys, capsys):
    words = ["toy", "--source.poses", "p", "--fail", fail, "--progress", "none"]
    assert main(words) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    if fail == "error":
        assert main([*words, "--debug"]) == 1
        assert "Traceback" in capsys.readouterr().err


def test_a_run_is_not_overwritten_unless_asked(toys, capsys):
    words = ["toy", "--source.poses", "p", "--out", "o", "--progress", "none"]
    assert main(words) == 0
    assert main(words) == 1
    assert "not empty" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--seed", "5"]) == 0
    assert list(follow_run(RunDir(toys / "o")))[-1] == JobFinished({"seed": 5})


def test_resuming_takes_the_runs_settings(toys, capsys):
    words = ["toy", "--source.poses", "p", "--seed", "6", "--out", "o", "--progress", "none"]
    assert main(words) == 0
    assert main(["toy", "--resume", "--out", "o", "--steps", "4", "--progress", "none"]) == 0
    events = list(follow_run(RunDir(toys / "o")))
    assert events[-1] == JobFinished({"seed": 6})
    assert [e.total_steps for e in events if isinstance(e, JobStarted)] == [3, 4]


def test_tools_print_text_and_write_a_report(toys, capsys):
    assert main(["note", "--out", "r.json"]) == 0
    assert capsys.readouterr().out == "a note\n"
    assert json.loads((toys / "r.json").read_text()) == {"note": 1}
    assert main(["note", "twice", "--no-ok"]) == 1
    assert not (toys / "runs").exists()


@pytest.fixture
def pose_files(tmp_path):
    rng = np.random.default_rng(0)
    body = load_skeleton("body15")
    stick = np.stack([np.linspace(60, 140, 15), np.linspace(20, 180, 15)], axis=-1)
    for name in ("a", "b"):
        points = stick + rng.normal(0, 15, (20, 15, 2))
        write_poses(PoseSet.create(body, points, (200, 200)), tmp_path / f"{name}.npz")
    return tmp_path


def test_convert_writes_another_format_and_replaces_only_when_asked(pose_files, capsys):
    source, target = str(pose_files / "a.npz"), str(pose_files / "penn.npz")
    words = ["convert", source, target, "--skeleton", "penn13"]
    assert main(words) == 0
    assert "20 poses of penn13" in capsys.readouterr().out
    assert read_poses(target).skeleton.joints == load_skeleton("penn13").joints
    assert main(words) == 1
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--replace"]) == 0
    assert main(["convert", source, str(pose_files / "c.xyz")]) == 1


def test_convert_tells_what_the_format_changed(pose_files, capsys):
    body = load_skeleton("body15")
    points = np.linspace(-20, 90, 30).reshape(1, 15, 2)  # partly left of and above the image
    write_poses(PoseSet.create(body, points, (100, 100)), pose_files / "out.npz")
    assert main(["convert", str(pose_files / "out.npz"), str(pose_files / "out.json")]) == 0
    first, *notes = capsys.readouterr().out.splitlines()
    assert first.endswith("1 poses of body15")
    assert any("outside the image" in note for note in notes)


def test_validate_counts_findings_and_fails_on_errors(pose_files, capsys):
    labels, report = pose_files / "a.json", pose_files / "report.json"
    assert main(["convert", str(pose_files / "a.npz"), str(labels)]) == 0
    assert main(["validate", str(labels), "--no-clients"]) == 0
    assert "0 errors" in capsys.readouterr().out
    document = json.loads(labels.read_text())
    for annotation in document["annotations"]:
        annotation["area"] = 0
    labels.write_text(json.dumps(document))
    assert main(["validate", str(labels), "--out", str(report)]) == 1
    shown = capsys.readouterr().out
    assert shown.count("error: ") == 5
    assert "and 15 more of area" in shown
    assert "20 errors" in shown
    assert len(json.loads(report.read_text())["findings"]) >= 20


@pytest.mark.parametrize("name", ["pycocotools", "faster_coco_eval"])
def test_validate_opens_the_file_with_the_clients(name, pose_files, capsys):
    pytest.importorskip(name)
    labels = pose_files / "a.json"
    assert main(["convert", str(pose_files / "a.npz"), str(labels)]) == 0
    assert main(["validate", str(labels)]) == 0
    assert name.replace("_", "-") in capsys.readouterr().out


def test_evaluate_distribution_reports_the_measures(pose_files, capsys):
    report = pose_files / "report.json"
    words = [str(pose_files / "a.npz"), str(pose_files / "b.npz"), "--out", str(report)]
    assert main(["evaluate", "distribution", *words]) == 0
    assert "Pose distributions (body15)" in capsys.readouterr().out
    assert json.loads(report.read_text())["energy_distance"] >= 0


def test_evaluate_keypoints_draws_a_sheet_on_the_frames(pose_files, capsys):
    pytest.importorskip("matplotlib")
    truth = read_poses(pose_files / "a.npz")
    truth = replace(truth, image_ids=tuple(f"{i}.png" for i in range(20)))
    write_poses(truth, pose_files / "true.npz")
    sure = np.full((20, 15), 0.5)
    write_poses(replace(truth, confidence=sure), pose_files / "predicted.npz")
    frames, sheet = pose_files / "frames", pose_files / "sheet.png"
    frames.mkdir()
    for name in truth.image_ids[1:]:
        Image.new("RGB", (200, 200)).save(frames / name)
    files = [str(pose_files / "predicted.npz"), str(pose_files / "true.npz")]
    words = ["evaluate", "keypoints", *files, "--sheet", str(sheet)]
    assert main(words) == 1
    assert "--frames and --sheet go together" in capsys.readouterr().err
    assert main([*words, "--frames", str(frames)]) == 1
    assert "has no frame '0.png'" in capsys.readouterr().err
    assert not sheet.exists()
    Image.new("RGB", (200, 200)).save(frames / "0.png")
    assert main([*words, "--frames", str(frames)]) == 0
    assert "Calibration error 0.500" in capsys.readouterr().out
    assert sheet.exists() and (pose_files / "sheet-reliability.png").exists()
    assert main([*words[:-1], "labels.json", "--frames", str(frames)]) == 1
    assert "--sheet ends in '.json'" in capsys.readouterr().err


def test_info_names_versions_devices_skeletons_and_formats(capsys):
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("torch 2", "cpu (", "body15 (15 joints)", "npz: "):
        assert word in out


INTERRUPTED = """
import sys, time, types
from flexpose import commands
from flexpose.cli.__main__ import main
from flexpose.configs.base import JobConfig
from flexpose.events import *
def job(config, run, cancel):
    yield JobStarted("job", None, run.path)
    while DEAF or not cancel.cancelled:
        time.sleep(0.01)
        yield StepCompleted(1, None)
    yield JobCancelled(1)
module = types.ModuleType("m"); module.C, module.job = JobConfig, job; sys.modules["m"] = module
commands.COMMANDS = (commands.Command("job", "m:C", "m:job", "x"),)
sys.exit(main(["job", "--out", sys.argv[1], "--progress", "none"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a single child")
@pytest.mark.parametrize("deaf", [False, True])
def test_ctrl_c_once_cancels_and_twice_kills(deaf, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.replace("DEAF", str(deaf)), str(tmp_path / "r")]
    )
    events = follow_run(RunDir(tmp_path / "r"), alive=lambda: child.poll() is None)
    assert isinstance(next(events), JobStarted)
    child.send_signal(signal.SIGINT)
    if deaf:
        time.sleep(0.2)
        assert child.poll() is None
        child.send_signal(signal.SIGINT)
    assert child.wait(timeout=10) == 130
    kinds = {type(event).__name__ for event in events} - {"StepCompleted"}
    assert kinds == ({"ProcessDied"} if deaf else {"JobCancelled"})


def test_every_row_resolves_and_speaks(capsys):
    for command in commands.COMMANDS:
        assert issubclass(resolve(command.config), ConfigBase)
        assert callable(resolve(command.target))
        assert command.help and not command.help.endswith(".")
        assert issubclass(resolve(command.config), JobConfig) == command.is_job
        with pytest.raises(SystemExit) as info:
            main([*command.name.split(), "--help"])
        assert info.value.code == 0
        assert command.help.split(",")[0][1:] in capsys.readouterr().out.replace("\n", " ")
    with pytest.raises(UnknownNameError):
        commands.find_command("nonsense")
