"""Run folders are numbered, never overwritten by accident, and describe themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import Field

from flexpose.configs.adaptation import AdaptConfig
from flexpose.configs.base import ConfigBase, JobConfig, dump_config, load_config
from flexpose.errors import ConfigError, DataFormatError
from flexpose.runs import RunDir, numbered


class Inner(ConfigBase):
    file: Path = Path("default.npz")
    rank: int = Field(2, ge=1, title="Rank")


class Outer(JobConfig):
    poses: Path
    more: tuple[Path, ...] = ()
    steps: int = Field(10, ge=1, le=100, title="Steps", description="How many.")
    inner: Inner = Inner()


def test_runs_are_numbered_onwards(tmp_path):
    (tmp_path / "adapt-0007").mkdir()
    (tmp_path / "adapt-notes").mkdir()
    (tmp_path / "adapt-more-0009").mkdir()
    assert RunDir.create("adapt", root=tmp_path).path == tmp_path / "adapt-0008"
    assert RunDir.create("adapt", root=tmp_path).path == tmp_path / "adapt-0009"
    assert RunDir.create("prior", root=tmp_path).path == tmp_path / "prior-0001"


def test_a_file_that_was_removed_gives_its_number_to_none_that_stays(tmp_path):
    (tmp_path / "shots-0002.coco.json").touch()  # the first has been removed
    assert numbered(tmp_path, "shots", ".coco.json") == tmp_path / "shots-0003.coco.json"
    assert numbered(tmp_path / "new", "shots", ".yaml") == tmp_path / "new" / "shots-0001.yaml"


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    out = tmp_path / "out"
    assert RunDir.create("a", out).path == out
    assert RunDir.create("a", out).path == out  # still empty
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        RunDir.create("a", out)
    with pytest.raises(ConfigError, match="is not a run"):
        RunDir.create("a", out, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        RunDir.create("a", out / "notes.txt")


def test_overwriting_removes_the_former_run_and_nothing_else(tmp_path):
    run = RunDir.create("a", tmp_path / "out")
    run.begin(JobConfig())
    (run.checkpoints / "step-000001").mkdir(parents=True)
    run.events_file.write_text("")
    (run.path / "notes.txt").write_text("mine")
    RunDir.create("a", run.path, overwrite=True)
    assert [p.name for p in run.path.iterdir()] == ["notes.txt"]


def test_a_run_describes_itself(tmp_path):
    run = RunDir.create("a", tmp_path / "out")
    run.request_cancel()
    run.begin(Outer(poses=Path("p.npz"), device="cpu"))
    assert not (run.path / "cancel").exists()
    environment = json.loads((run.path / "env.json").read_text())
    assert environment["device"] == "cpu"
    assert {"flexpose", "numpy", "torch", "python"} <= set(environment["versions"])
    assert run.process()["events_from"] == 0
    assert load_config(Outer, run.config_file).poses == Path.cwd() / "p.npz"
    assert not list(run.path.glob("*.partial"))


def test_only_runs_can_be_opened(tmp_path):
    with pytest.raises(ConfigError, match="not a run"):
        RunDir.open(tmp_path)
    RunDir(tmp_path).begin(JobConfig())
    assert RunDir.open(tmp_path).path == tmp_path
    (tmp_path / "process.json").write_text("{")
    with pytest.raises(DataFormatError, match="not JSON"):
        RunDir.open(tmp_path).process()


def test_a_run_of_another_host_is_taken_to_live(tmp_path):
    (tmp_path / "process.json").write_text('{"pid": 1, "host": "elsewhere"}')
    assert RunDir(tmp_path).process_alive()


def test_names_of_folders_become_absolute_and_other_names_stay(tmp_path, monkeypatch):
    (tmp_path / "runs" / "golf").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for prior, written in (
        ("runs/golf", str(tmp_path / "runs" / "golf")),
        ("body15", "body15"),
        ("runs/gone", "runs/gone"),
    ):
        dump_config(AdaptConfig(prior=prior, shots=Path("s.json")), tmp_path / "c.yaml")
        assert load_config(AdaptConfig, tmp_path / "c.yaml").prior == written


def test_paths_in_a_config_file_count_from_its_folder(tmp_path):
    file = tmp_path / "sub" / "c.yaml"
    file.parent.mkdir()
    file.write_text("poses: ../p.npz\nmore: [a, /abs/b]\ninner: {rank: 3}\n")
    config = load_config(Outer, file)
    assert config.poses == tmp_path / "p.npz"
    assert config.more == (tmp_path / "sub" / "a", Path("/abs/b"))
    assert config.inner == Inner(rank=3)
    config = load_config(Outer, file, {"poses": Path("here.npz"), "seed": 4})
    assert (config.poses, config.seed) == (Path("here.npz"), 4)
    dump_config(config, tmp_path / "again.yaml")
    again = load_config(Outer, tmp_path / "again.yaml")
    assert again.poses == Path.cwd() / "here.npz"
    assert again.inner.file == Path.cwd() / "default.npz"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("poses: p\nstepz: 3", "Unknown setting 'stepz'. Did you mean 'steps'?"),
        ("poses: p\ninner: {rnak: 3}", "inner: Unknown setting 'rnak'. Did you mean 'rank'?"),
        ("poses: p\nsteps: 300", "steps: input should be less than or equal to 100, found 300"),
        ("poses: p\ninner: {rank: 0}", "inner.rank: input should be greater"),
        ("steps: 3", "poses: a value is needed"),
        ("[1, 2]", "holds a list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_refused_config_says_where_and_why(text, words, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as info:
        load_config(Outer, file)
    assert words in str(info.value)
    assert "c.yaml" in str(info.value)


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_config(Outer, tmp_path / "none.yaml")


def test_descriptions_begin_with_the_title_once():
    class Sub(Outer):
        pass

    assert Sub.model_fields["steps"].description == "Steps. How many."
    assert Inner.model_fields["rank"].description == "Rank."
    assert Sub.model_fields["seed"].description.count("Seed") == 1


def test_a_request_for_a_process_that_is_starting_is_kept(tmp_path):
    run = RunDir.create("a", tmp_path / "out")
    run.announce(os.getpid())
    run.request_cancel()
    run.begin(JobConfig())
    assert (run.path / "cancel").exists()
    assert run.process()["starting"] is False
    run.begin(JobConfig())  # another start: the request was for the former one
    assert not (run.path / "cancel").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells")
def test_a_process_of_the_same_number_is_not_taken_for_the_runs_own(tmp_path):
    run = RunDir.create("a", tmp_path / "out")
    run.begin(JobConfig())
    assert run.process_alive()
    process = run.process()
    (run.path / "process.json").write_text(json.dumps({**process, "born": process["born"] - 1}))
    assert not run.process_alive()
    (run.path / "process.json").write_text(json.dumps({**process, "born": None}))
    assert run.process_alive()
