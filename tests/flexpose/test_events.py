"""Events survive the way through a file, pictures and errors included."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from flexpose import errors
from flexpose.events import (
    CheckpointSaved,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobStarted,
    MetricsReady,
    PhaseChanged,
    PreviewReady,
    ProcessDied,
    StepCompleted,
    WarningRaised,
    event_from_json,
    event_to_json,
)

PLAIN = [
    JobStarted("train", 10, Path("runs/a-0001")),
    JobStarted("import", None, None),
    PhaseChanged("reading poses", 3),
    StepCompleted(3, 10, {"loss": 0.5, "d/r1": 1e-9}, 1e-3, 12.5),
    MetricsReady(3, {"energy": 0.25}, "val"),
    CheckpointSaved(3, Path("runs/a/checkpoints/step-000003")),
    WarningRaised("narrow", "The spread ratio is 0.4.", "Try ot."),
    JobFinished({"poses": Path("ü/poses.npz"), "n": 32}),
    JobFinished(),
    JobCancelled(3, Path("x")),
]


@pytest.mark.parametrize("event", PLAIN, ids=lambda event: type(event).__name__)
def test_events_survive_the_way_through_a_line(event, tmp_path):
    line = event_to_json(event, tmp_path)
    assert "\n" not in line
    assert event_from_json(line, tmp_path) == event
    assert not list(tmp_path.iterdir())


def test_previews_become_files_and_come_back_equal(tmp_path):
    rng = np.random.default_rng(0)
    event = PreviewReady(
        7,
        rng.integers(0, 256, (5, 8, 6, 3), dtype=np.uint8),
        rng.normal(size=(5, 3, 2)).astype(np.float32),
    )
    line = event_to_json(event, tmp_path)
    assert len(line) < 300
    names = sorted(p.name for p in (tmp_path / "previews").iterdir())
    assert names == ["000007-images.png", "000007-keypoints.npy"]
    back = event_from_json(line, tmp_path)
    assert isinstance(back, PreviewReady)
    np.testing.assert_array_equal(back.images, event.images)
    np.testing.assert_array_equal(back.keypoints, event.keypoints)
    assert event_to_json(event, tmp_path / "elsewhere", write_arrays=False) == line
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", [JobFailed, ProcessDied])
@pytest.mark.parametrize(
    "error",
    [
        errors.DeviceMemoryError("Out of memory.", "Lower batch_size."),
        errors.TrainingDivergedError("d/r1", 9),
        errors.DataFormatError("a.json", "line 3", "found 1, expected 2"),
        errors.UnknownNameError("command", "adpat", ["adapt"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_keep_class_and_words(kind, error, tmp_path):
    back = event_from_json(event_to_json(kind(error, "trace"), tmp_path), tmp_path)
    assert type(back) is kind
    assert type(back.error) is type(error)
    assert str(back.error) == str(error)
    assert back.details == "trace"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        '{"event": "Nonsense"}',
        '{"event": "JobFinished", "other": 1}',
        '{"event": "PreviewReady", "step": 1, "images": {"$array": "none.png", "count": 1}}',
    ],
)
def test_a_foreign_line_is_refused(line, tmp_path):
    with pytest.raises(errors.DataFormatError, match="is not an event"):
        event_from_json(line, tmp_path)


def test_what_is_no_plain_data_is_refused(tmp_path):
    with pytest.raises(TypeError, match="object"):
        event_to_json(JobFinished(object()), tmp_path)


def test_numpy_numbers_become_plain_numbers(tmp_path):
    line = event_to_json(MetricsReady(1, {"a": np.float32(0.5)}, "val"), tmp_path)
    assert json.loads(line)["metrics"] == {"a": 0.5}


def test_events_are_frozen():
    for event in PLAIN:
        with pytest.raises(AttributeError):
            setattr(event, fields(event)[0].name, None)
