"""Frames of a studio: captured motion on drawn people, exact keypoints, clean splits."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from flexpose.configs.base import load_config
from flexpose.configs.studio import StudioConfig
from flexpose.errors import ConfigError, DataFormatError
from flexpose.events import JobCancelled, JobEvent, JobFailed, JobFinished, StepCompleted
from flexpose.frames import open_frames
from flexpose.io.coco_read import read_coco
from flexpose.jobs import CancelToken, guarded
from flexpose.mannequin import studio as studio_module
from flexpose.mannequin.body import FOREARM, SHIN, THIGH, UPPER_ARM, Body, Build
from flexpose.mannequin.capture import captured_body, draw_build, upright, world_from_mocap
from flexpose.mannequin.sample import draw_mask
from flexpose.mannequin.studio import build_studio, draw_take, run
from flexpose.mannequin.takes import LONGEST, activity_of, motion_files, plan_takes, read_clips
from flexpose.runs import RunDir

BONES = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))


def walker(frames: int, phase: float = 0.0, lean: float = 0.0) -> dict[str, np.ndarray]:
    """A person who walks on the spot, faces -y and leans forward: joint -> (frames, 3), z up."""
    swing = 0.5 * np.sin(phase + np.arange(frames) * 0.7)
    ones = np.ones(frames)

    def point(x, y, z):
        return np.stack([x * ones, y * ones, z * ones], axis=1)

    joints = {
        "pelvis": point(0, 0, 0.9),
        "neck": point(0, -0.5 * np.sin(lean), 0.9 + 0.5 * np.cos(lean)),
    }
    joints["head"] = joints["neck"] + point(0, -0.02, 0.15)
    for side, sign, s in (("left", 1, swing), ("right", -1, -swing)):
        hip = point(0.1 * sign, 0, 0.9)
        knee = hip + 0.42 * point(0, -np.sin(s + 0.2), -np.cos(s + 0.2))
        ankle = knee + 0.40 * point(0, -np.sin(s - 0.2), -np.cos(s - 0.2))
        shoulder = joints["neck"] + point(0.18 * sign, 0, -0.04)
        elbow = shoulder + 0.27 * point(0.2 * sign, np.sin(s), -np.cos(s))
        wrist = elbow + 0.24 * point(0, np.sin(s) - 0.4, -np.cos(s))
        names = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
        for name, at in zip(names, (hip, knee, ankle, shoulder, elbow, wrist), strict=True):
            joints[f"{side}_{name}"] = at
    return joints


def write_motion(path: Path, clips: dict[str, int], lean: float = 0.0) -> Path:
    """A file like Bandai-Namco's (y up) with clips of so many frames; they walk straight on."""
    rows, names = [], []
    for number, (clip, frames) in enumerate(clips.items()):
        at = walker(frames, number, lean)
        head = (at["head"] + at["neck"]) / 2
        joints = {"Neck": at["neck"], "Head": head}
        for side, letter in (("left", "L"), ("right", "R")):
            for joint, name in (
                ("shoulder", "UpperArm"), ("elbow", "LowerArm"), ("wrist", "Hand"),
                ("hip", "UpperLeg"), ("knee", "LowerLeg"), ("ankle", "Foot"),
            ):  # fmt: skip
                joints[f"{name}_{letter}"] = at[f"{side}_{joint}"]
        xyz = np.stack(list(joints.values()), axis=1)
        xyz = np.stack([xyz[..., 0], xyz[..., 2], -xyz[..., 1]], axis=-1)
        xyz[..., 2] += 0.4 * np.arange(frames)[:, None]
        rows.append(xyz.astype(np.float32))
        names += [clip] * frames
    np.savez(
        path,
        xyz=np.concatenate(rows),
        clip=np.array(names),
        parents=np.arange(len(joints)),
        joints=np.array(list(joints)),
    )
    return path


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    """Six clips of two activities."""
    names = [f"dataset-1_{what}_happy_{n:03d}" for what in ("walk", "wave-hand") for n in range(3)]
    return write_motion(tmp_path / "motion.npz", dict.fromkeys(names, 6))


def config_of(motion: Path, **settings) -> StudioConfig:
    values = {"motion": (motion,), "train": 20, "test": 8, "image_size": 64, "workers": 1}
    return load_config(StudioConfig, None, {**values, **settings})


def make(out: Path, config: StudioConfig, cancel: CancelToken | None = None) -> list[JobEvent]:
    out.mkdir(exist_ok=True)
    return list(guarded(run(config, RunDir(out), cancel or CancelToken())))


def files_of(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def lengths(body: Body, start: str, end: str) -> np.ndarray:
    return np.linalg.norm(body.joints[end] - body.joints[start], axis=1)


# ---------------------------------------------------------------- captured motion on a body


def test_motion_captures_axes_become_the_mannequins() -> None:
    # a person who faces +z with y up has the left hand at +x; here they face -y with z up
    np.testing.assert_array_equal(world_from_mocap(np.array([1.0, 2, 3])), [1, -3, 2])


def test_bones_have_the_drawn_lengths_and_the_captured_directions() -> None:
    captured, build = walker(5), Build(height=0.9, arms=1.1, legs=0.95, girth=1.2)
    body = captured_body(captured, build)
    drawn = (1.1 * UPPER_ARM, 1.1 * FOREARM, 0.95 * THIGH, 0.95 * SHIN)
    for side in ("left", "right"):
        for (start, end), length in zip(BONES, drawn, strict=True):
            a, b = f"{side}_{start}", f"{side}_{end}"
            np.testing.assert_allclose(lengths(body, a, b), 0.9 * length)
            bone, truth = body.joints[b] - body.joints[a], captured[b] - captured[a]
            np.testing.assert_allclose(np.cross(bone, truth), 0, atol=1e-12)
            assert np.all((bone * truth).sum(axis=1) > 0)


def test_unit_of_the_captured_motion_does_not_matter() -> None:
    metres = walker(3)
    millimetres = {name: 1000 * points + 70 for name, points in metres.items()}
    one, two = (captured_body(captured, Build()) for captured in (metres, millimetres))
    for name, points in one.joints.items():
        np.testing.assert_allclose(two.joints[name], points, atol=1e-9)


def test_lower_foot_stands_on_the_floor_in_every_frame() -> None:
    body = captured_body(walker(12), Build(height=1.05))
    soles = [part for part in body.parts if part.paint[0] == "sole"]
    ends = [end[:, 2] for part in soles for end in (part.start, part.end)]
    np.testing.assert_allclose(np.min(ends, axis=0), 1.05 * 0.022, atol=1e-9)


def test_feet_and_face_point_forward_and_sides_stay() -> None:
    body = captured_body(walker(12), Build())
    assert np.all(body.joints["head"][:, 1] < body.joints["neck"][:, 1] - 0.05)
    assert np.all(body.joints["left_hip"][:, 0] > body.joints["right_hip"][:, 0])
    for part in body.parts:
        if part.paint[0] == "sole":
            forward = (part.end - part.start) / np.linalg.norm(part.end - part.start, axis=1)[
                :, None
            ]
            assert np.all(forward[:, 1] < -0.5)
            assert part.frame is not None
            np.testing.assert_allclose(np.linalg.det(part.frame), 1)


def test_only_upright_people_count() -> None:
    assert upright(walker(6)).all()
    assert not upright(walker(6, lean=np.radians(50))).any()
    sitting = walker(6)
    for side in ("left", "right"):
        sitting[f"{side}_knee"] = sitting[f"{side}_hip"] + [0, -0.42, 0]
        sitting[f"{side}_ankle"] = sitting[f"{side}_knee"] + [0, 0, -0.4]
    assert not upright(sitting).any()


def test_builds_differ_within_bounds() -> None:
    builds = [draw_build(np.random.default_rng(seed)) for seed in range(20)]
    assert len({build.height for build in builds}) == 20
    standing = walker(1)
    heights = [captured_body(standing, build).joints["head"][0, 2] for build in builds]
    assert 1.25 < min(heights) < max(heights) - 0.15 < 1.75


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize(
    ("clip", "activity"),
    [
        ("dataset-1_walk_sad_002", "walk"),
        ("dataset-2_raise-up-both-hands_active_001", "raise-up-both-hands"),
        ("directing_traffic_1", "directing_traffic"),
        ("jump", "jump"),
        ("a/b_3", "a-b"),
    ],
)
def test_activity_is_read_off_the_clips_name(clip: str, activity: str) -> None:
    assert activity_of(clip) == activity


def test_takes_have_exactly_the_frames_asked_for_and_share_no_clip(tmp_path: Path) -> None:
    names = {f"{what}_{n}": 9 for what in ("walk", "run") for n in range(8)}
    clips = read_clips(write_motion(tmp_path / "m.npz", names))
    takes = plan_takes(clips, 70, 25, 0)
    count = {split: [t for t in takes if t.split == split] for split in ("train", "test")}
    assert sum(len(take.clip.frames) for take in count["train"]) == 70
    assert sum(len(take.clip.frames) for take in count["test"]) == 25
    train, test = ({take.clip.name for take in count[split]} for split in ("train", "test"))
    assert not train & test
    for kept in (train, test):
        assert {name.split("_")[0] for name in kept} == {"walk", "run"}
    assert len({take.name for take in takes}) == len(takes)


def test_short_motion_comes_again_before_the_next_camera(motion: Path) -> None:
    takes = plan_takes(read_clips(motion), 60, 8, 0)
    views: dict[str, list[int]] = {}
    for take in takes:
        views.setdefault(take.clip.name, []).append(take.view)
    assert max(len(seen) for seen in views.values()) > 1
    assert all(len(seen) == len(set(seen)) for seen in views.values())
    with pytest.raises(ConfigError, match="gives 96 upright frames for train, expected 97"):
        plan_takes(read_clips(motion), 97, 8, 0)


def test_long_clips_become_several_takes(tmp_path: Path) -> None:
    frames = 2 * LONGEST + 2
    clips = read_clips(write_motion(tmp_path / "m.npz", {"walk_1": frames, "walk_2": frames}))
    takes = plan_takes(clips, frames, frames, 0)
    for split in ("train", "test"):
        pieces = [take.clip.frames for take in takes if take.split == split]
        assert [len(piece) for piece in pieces] == [16, 17, 17]
        assert [number for piece in pieces for number in piece] == list(range(frames))


def test_clips_that_are_not_upright_are_left_out(tmp_path: Path) -> None:
    path = write_motion(tmp_path / "m.npz", {"bow_1": 6}, lean=np.radians(60))
    assert read_clips(path) == []


def test_file_named_twice_is_read_once(motion: Path) -> None:
    assert motion_files([motion.parent, motion]) == [motion.resolve()]


def test_wrong_motion_gives_a_clear_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    last = make(tmp_path / "out", config_of(tmp_path / "other.npz"))[-1]
    assert isinstance(last, JobFailed)
    assert "other.npz, xyz: the array" in str(last.error)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFormatError, match=r"holds no \.npz files"):
        motion_files([tmp_path / "empty"])
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_clips(tmp_path / "missing.npz")


# ---------------------------------------------------------------- pictures


def test_four_cameras_and_backgrounds_differ() -> None:
    views = build_studio(0, 48).views
    assert len(views) == 4
    for i, one in enumerate(views):
        for other in views[:i]:
            assert one.camera.position != other.camera.position
            assert one.azimuth != other.azimuth
            assert np.abs(one.room.image - other.room.image).mean() > 0.03


def test_joints_lie_on_the_person_and_inside_the_picture(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        studio_module, "_write_frames", lambda studio, take, clip, *rest: drawn.append(clip)
    )
    studio = build_studio(1, 128)
    for take in plan_takes(read_clips(motion), 60, 8, 1):
        poses = draw_take(studio, tmp_path, take)
        assert poses.keypoints.min() > 4
        assert poses.keypoints.max() < 123
        for frame in (0, len(poses) - 1):
            mask = draw_mask(studio.views[take.view].camera, drawn[-1], frame)
            near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            x, y = np.round(poses.keypoints[frame]).astype(int).T
            assert near[y, x].all()
            left, top, width, height = poses.boxes[frame]
            rows, columns = np.nonzero(mask)
            assert left - 1 <= columns.min() and columns.max() <= left + width + 1
            assert top - 1 <= rows.min() and rows.max() <= top + height + 1
            assert height > 50


# ---------------------------------------------------------------- the job


def test_labels_name_the_frames_of_their_folder(motion: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    events = make(out, config_of(motion))
    assert isinstance(events[-1], JobFinished)
    last = [event for event in events if isinstance(event, StepCompleted)][-1]
    assert (last.step, last.total_steps) == (28, 28)
    for split, count in (("train", 20), ("test", 8)):
        poses = read_coco(out / f"{split}.coco.json").poses
        frames = open_frames(out / split)
        assert len(poses) == count
        assert tuple(frames.names) == poses.image_ids
        assert frames.read(0).shape == (64, 64, 3)
        for name, group in zip(poses.image_ids, poses.groups, strict=True):
            assert name.startswith(f"{group}/")
            assert group.rsplit("_", 1)[0] in {"walk", "wave-hand"}
        assert "seed 0" in poses.source[0]
        assert "motion.npz" in poses.source[0]
    note = json.loads((out / "studio.json").read_text(encoding="utf-8"))
    by_split = {
        s: {t["clip"] for t in note["takes"] if t["take"].startswith(s)} for s in ("train", "test")
    }
    assert not by_split["train"] & by_split["test"]


def test_same_seed_same_bytes_with_any_number_of_workers(motion: Path, tmp_path: Path) -> None:
    settings = {"train": 10, "test": 5, "image_size": 32}
    for name, extra in (("one", {}), ("two", {"workers": 2}), ("other", {"seed": 1})):
        assert isinstance(
            make(tmp_path / name, config_of(motion, **settings, **extra))[-1], JobFinished
        )
    one, two, other = (files_of(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    same = [one[name] == other[name] for name in one.keys() & other.keys()]
    assert not any(same)


def test_cancelled_job_goes_on_without_drawing_again(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    make(whole, config_of(motion))
    cancel = CancelToken()
    cancel.cancel()
    last = make(parts, config_of(motion), cancel)[-1]
    assert isinstance(last, JobCancelled)
    assert 0 < last.step < 28
    assert not (parts / "train.coco.json").exists()
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("*.jpg")}
    assert len(before) == last.step
    assert isinstance(make(parts, config_of(motion))[-1], JobFinished)
    assert files_of(parts) == files_of(whole)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_frames_of_other_settings_are_not_mixed_in(motion: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, config_of(motion))
    before = files_of(out)
    last = make(out, config_of(motion, seed=1))[-1]
    assert isinstance(last, JobFailed)
    assert "frames of other settings" in str(last.error)
    assert files_of(out) == before


def test_broken_take_is_drawn_anew(motion: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, config_of(motion))
    before = files_of(out)
    folder = next(path for path in sorted((out / "train").iterdir()))
    half = folder.rename(folder.with_name(f".{folder.name}.partial"))
    (half / "0000.jpg").write_bytes(b"cut sho")
    make(out, config_of(motion))
    assert files_of(out) == before
