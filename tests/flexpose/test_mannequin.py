"""The procedural mannequin: exact keypoints, honest visibility, the same pixels every time."""

from __future__ import annotations

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest

from flexpose.errors import ConfigError
from flexpose.mannequin import MannequinSample, mannequin_frames
from flexpose.mannequin.body import ANKLE_HEIGHT, pose_body
from flexpose.mannequin.motion import (
    ACTIONS,
    Action,
    Motion,
    clip_motion,
    cyclic_interpolation,
    mirrored,
)
from flexpose.mannequin.render import SUPERSAMPLING, Camera, hit, rasterise, shade, solids
from flexpose.mannequin.sample import OWN_DEPTH, visibility


@pytest.fixture(scope="module")
def sample() -> MannequinSample:
    return mannequin_frames(0)


@pytest.fixture(scope="module")
def some(sample: MannequinSample) -> range:
    """A few frames of every action."""
    return range(5, len(sample), 31)


def own_depths(sample: MannequinSample) -> np.ndarray:
    return np.array([OWN_DEPTH[joint.split("_")[-1]] for joint in sample.poses.skeleton.joints])


def test_default_sample_has_hundreds_of_frames_of_many_actions(sample: MannequinSample) -> None:
    assert len(sample) == len(sample.poses) >= 400
    assert len({group.rsplit("_", 1)[0] for group in sample.poses.groups}) == len(ACTIONS) >= 6
    assert sample.poses.skeleton.name == "body15"
    assert len(set(sample.poses.image_ids)) == len(sample)
    assert "swing_0/000.png" in sample.poses.image_ids
    for name, group in zip(sample.poses.image_ids, sample.poses.groups, strict=True):
        assert name.startswith(f"{group}/")


def test_same_seed_gives_same_pixels_in_any_order() -> None:
    small = {"clips_per_action": 1, "frames_per_clip": 3, "image_size": 64}
    first, again = mannequin_frames(7, **small), mannequin_frames(7, **small)
    forward = [first.image(i) for i in range(len(first))]
    backward = [again.image(i) for i in reversed(range(len(again)))][::-1]
    np.testing.assert_array_equal(forward, backward)
    np.testing.assert_array_equal(first.poses.keypoints, again.poses.keypoints)
    np.testing.assert_array_equal(first.poses.visibility, again.poses.visibility)
    other = mannequin_frames(8, **small)
    assert np.abs(other.poses.keypoints - first.poses.keypoints).max() > 1
    assert (other.image(0) != forward[0]).mean() > 0.5


def test_clips_do_not_depend_on_how_many_follow() -> None:
    few = mannequin_frames(3, clips_per_action=1, frames_per_clip=2, image_size=64)
    more = mannequin_frames(3, clips_per_action=2, frames_per_clip=2, image_size=64)
    at = [i for i, group in enumerate(more.poses.groups) if group.endswith("_0")]
    np.testing.assert_array_equal(more.poses.keypoints[at], few.poses.keypoints)


def test_image_is_rgb_of_the_size_asked_for() -> None:
    sample = mannequin_frames(1, clips_per_action=1, frames_per_clip=1, image_size=96)
    image = sample.image(2)
    assert image.shape == (96, 96, 3)
    assert image.dtype == np.uint8
    assert 60 < image.mean() < 200
    np.testing.assert_array_equal(sample.poses.image_size, np.full((len(ACTIONS), 2), 96))


def test_keypoints_scale_with_the_image() -> None:
    counts = {"clips_per_action": 1, "frames_per_clip": 2}
    small, large = (mannequin_frames(2, **counts, image_size=n) for n in (64, 192))
    scaled = (small.poses.keypoints + 0.5) * 3 - 0.5
    np.testing.assert_allclose(large.poses.keypoints, scaled, atol=1e-3)


def test_keypoints_are_the_projection_of_the_joints(sample: MannequinSample) -> None:
    camera = sample.camera
    rotation = camera.axes
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0
    focal = camera.zoom * camera.image_size
    matrix = np.array([[focal, 0, 255 / 2], [0, focal, 255 / 2], [0, 0, 1.0]])
    vector, _ = cv2.Rodrigues(rotation)
    expected, _ = cv2.projectPoints(
        sample.joints_3d.reshape(-1, 3), vector, -rotation @ camera.position, matrix, None
    )
    found = sample.poses.keypoints.reshape(-1, 2)
    np.testing.assert_allclose(found, expected[:, 0], atol=1e-3)


def test_camera_looks_down_from_above_head_height(sample: MannequinSample) -> None:
    assert sample.camera.position[2] > sample.joints_3d[..., 2].mean() + 1
    assert sample.camera.axes[2, 2] < -0.2


def test_joints_stay_inside_the_image() -> None:
    for seed in range(4):
        keypoints = mannequin_frames(seed, image_size=256).poses.keypoints
        assert keypoints.min() > 8
        assert keypoints.max() < 247


def test_joints_lie_on_the_person(sample: MannequinSample, some: range) -> None:
    for index in some:
        near = cv2.dilate(sample.person_mask(index).astype(np.uint8), np.ones((5, 5), np.uint8))
        x, y = np.round(sample.poses.keypoints[index]).astype(int).T
        hidden_by_club = sample.poses.groups[index].startswith("swing")
        assert near[y, x].all() or hidden_by_club


def test_visibility_agrees_with_the_depth_of_the_picture(
    sample: MannequinSample, some: range
) -> None:
    own = own_depths(sample)
    for index in some:
        clip, frame = sample._at(index)
        raster = rasterise(sample.camera, clip.scene, frame)
        fine = (sample.poses.keypoints[index] + 0.5) * SUPERSAMPLING - 0.5
        x, y = np.round(fine - [raster.left, raster.top]).astype(int).T
        joint_depth = sample.camera.project(sample.joints_3d[index])[:, 2]
        slack = 0.02  # the ray through a pixel's centre passes the joint at a small distance
        for j, limit in enumerate(joint_depth - own):
            patch = raster.depth[y[j] - 1 : y[j] + 2, x[j] - 1 : x[j] + 2]
            if sample.poses.visibility[index, j] == 2:
                assert patch.max() > limit - slack
            else:
                assert patch.min() < limit + slack


def test_both_visible_and_occluded_joints_occur(sample: MannequinSample) -> None:
    share = (sample.poses.visibility == 1).mean()
    assert 0.05 < share < 0.3
    assert set(np.unique(sample.poses.visibility)) == {1, 2}


@pytest.mark.parametrize(("heading", "occluded"), [(0.0, False), (np.pi, True)])
def test_face_is_occluded_from_behind_only(heading: float, occluded: bool) -> None:
    camera = Camera(256)
    motion = clip_motion(ACTIONS["march"], np.random.default_rng(0), 4)
    motion.track["heading"][:] = heading
    body = pose_body(motion)
    scene = solids(body.parts, camera.position)
    seen = visibility(camera, scene, body.joints["head"][:, None], ("head",))
    assert np.all((seen == 1) == occluded)


def test_bones_keep_their_length(sample: MannequinSample) -> None:
    for parent, child in sample.poses.skeleton.edges:
        lengths = np.linalg.norm(sample.joints_3d[:, child] - sample.joints_3d[:, parent], axis=1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)


def test_left_and_right_bones_have_equal_length(sample: MannequinSample) -> None:
    at = sample.poses.skeleton.index

    def length(a: str, b: str) -> float:
        return float(np.linalg.norm(sample.joints_3d[0, at(a)] - sample.joints_3d[0, at(b)]))

    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
        left, right = (length(f"{side}_{a}", f"{side}_{b}") for side in ("left", "right"))
        assert left == pytest.approx(right)


def test_motion_is_smooth(sample: MannequinSample) -> None:
    groups = sample.poses.groups
    steps = [
        np.linalg.norm(sample.poses.keypoints[b] - sample.poses.keypoints[a], axis=1).max()
        for a, b in pairwise(range(len(sample)))
        if groups[a] == groups[b]
    ]
    assert max(steps) < 50
    assert np.median(steps) < 18
    assert min(steps) > 0


def test_left_is_left(sample: MannequinSample) -> None:
    joints, at = sample.joints_3d, sample.poses.skeleton.index
    hips = joints[:, at("left_hip")] - joints[:, at("right_hip")]
    forward = joints[:, at("head")] - joints[:, at("neck")]
    up = joints[:, at("neck")] - joints[:, at("pelvis")]
    shoulders = joints[:, at("left_shoulder")] - joints[:, at("right_shoulder")]
    assert np.all((hips * shoulders).sum(axis=1) > 0)
    # back = up x left, and the face is in front; the head turns, so the sum over a clip decides
    back = np.cross(up, shoulders)
    facing = (back * forward).sum(axis=1).reshape(len(ACTIONS), -1)
    assert np.all(facing.mean(axis=1) < 0)


def test_mirrored_action_mirrors_the_joints_and_swaps_their_names() -> None:
    keys = tuple((phase, mirrored(pose)) for phase, pose in ACTIONS["kick"].keys)
    other = Action(ACTIONS["kick"].period, keys, (0.0, 0.0))
    plain = Action(other.period, ACTIONS["kick"].keys, (0.0, 0.0))
    one, two = (pose_body(still(action)).joints for action in (plain, other))
    for joint, points in one.items():
        swap = joint.replace("left", "*").replace("right", "left").replace("*", "right")
        np.testing.assert_allclose(two[swap], points * [-1, 1, 1], atol=1e-12)


def still(action: Action) -> Motion:
    """The key poses themselves, at heading and place zero."""
    names = [*action.keys[0][1]]
    track = {}
    for name in names:
        values = np.array([pose[name] for _, pose in action.keys])
        metres = name.split("_")[-1] in {"left", "forward", "up", "out"} and "arm" not in name
        track[name] = values if metres and "toe" not in name else np.radians(values)
    return Motion(
        track | {n: np.zeros(len(action.keys)) for n in ("heading", "place_x", "place_y")}
    )


def test_knees_bend_forward_and_elbows_stay_in_range(sample: MannequinSample) -> None:
    joints, at = sample.joints_3d, sample.poses.skeleton.index
    to_left = joints[:, at("left_hip")] - joints[:, at("right_hip")]
    for side in ("left", "right"):
        hip, knee, ankle, shoulder, elbow, wrist = (
            joints[:, at(f"{side}_{n}")]
            for n in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
        )
        bend = np.cross(knee - hip, ankle - knee)
        assert np.all((bend * to_left).sum(axis=1) > 0)
        upper, lower = elbow - shoulder, wrist - elbow
        cosine = (upper * lower).sum(axis=1) / np.linalg.norm(upper, axis=1)
        angle = np.degrees(np.arccos(cosine / np.linalg.norm(lower, axis=1)))
        assert angle.max() < 150


def test_elbow_angles_never_turn_negative() -> None:
    for action in ACTIONS.values():
        for seed in range(5):
            track = clip_motion(action, np.random.default_rng(seed), 40).track
            assert min(track["left_elbow"].min(), track["right_elbow"].min()) >= 0


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_feet_stand_on_the_floor(name: str) -> None:
    for seed in range(4):
        motion = clip_motion(ACTIONS[name], np.random.default_rng(seed), 40)
        body = pose_body(motion)
        for side in ("left", "right"):
            lift = motion.track[f"{side}_foot_up"]
            flat = np.abs(motion.track[f"{side}_heel"]) < 1e-6
            height = body.joints[f"{side}_ankle"][:, 2] - lift - ANKLE_HEIGHT
            np.testing.assert_allclose(height[flat], 0, atol=2e-3)
        soles = [part for part in body.parts if part.paint[0] == "sole"]
        for part in soles:
            lowest = np.minimum(part.start[:, 2], part.end[:, 2])
            assert lowest.min() > 0.01  # the rubber itself is about 25 mm thick


def test_interpolation_meets_its_keys_and_never_overshoots() -> None:
    times = np.array([0.0, 0.2, 0.5, 0.8])
    values = np.array([[0.0], [1.0], [1.0], [0.4]])
    np.testing.assert_allclose(cyclic_interpolation(times + 3, times, values), values, atol=1e-12)
    dense = cyclic_interpolation(np.linspace(-1, 2, 901), times, values)
    assert dense.min() >= -1e-12
    assert dense.max() <= 1 + 1e-12
    assert np.abs(np.diff(dense[:, 0])).max() < 0.03


def test_hit_agrees_with_many_spheres() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        start, end = rng.uniform([-0.3, -0.3, 2.7], [0.3, 0.3, 3.3], (2, 3))
        radii = rng.uniform(0.02, 0.3, 2)
        rays = np.concatenate([rng.uniform(-0.2, 0.2, (2, 400)), np.ones((1, 400))])
        found, share = hit(rays, -start, end - start, radii)
        t = np.linspace(0, 1, 1501)[:, None]
        centre = start + t * (end - start)
        a, b = (rays**2).sum(axis=0), centre @ rays
        c = (centre**2).sum(axis=1, keepdims=True) - (radii[0] + t * (radii[1] - radii[0])) ** 2
        disc = b**2 - a * c
        near = np.where(disc >= 0, (b - np.sqrt(np.maximum(disc, 0))) / a, np.inf)
        expected = near.min(axis=0)
        both = np.isfinite(found) & np.isfinite(expected)
        assert (np.isfinite(found) != np.isfinite(expected)).sum() <= 2  # grazing rays
        np.testing.assert_allclose(found[both], expected[both], atol=2e-3)
        assert np.all((share >= 0) & (share <= 1))


def test_raster_equals_casting_every_ray_at_every_part() -> None:
    sample = mannequin_frames(5, clips_per_action=1, frames_per_clip=1, image_size=64)
    for index in range(len(sample)):
        clip, _ = sample._at(index)
        rays = sample.camera.fine_rays.reshape(3, -1)
        everything = np.stack(
            [
                hit(linear.astype(np.float32) @ rays, eye, axis, radii)[0]
                for linear, eye, axis, radii in zip(
                    clip.scene.linear[0], clip.scene.eye[0], clip.scene.axis[0],
                    clip.scene.radii, strict=True,
                )
            ]
        ).min(axis=0).reshape(128, 128)  # fmt: skip
        raster = rasterise(sample.camera, clip.scene, 0)
        found = np.full((128, 128), np.inf, np.float32)
        h, w = raster.depth.shape
        found[raster.top : raster.top + h, raster.left : raster.left + w] = raster.depth
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(everything))
        np.testing.assert_allclose(found, everything, atol=1e-4)


def test_mask_covers_what_is_drawn_and_leaves_out_the_club(sample: MannequinSample) -> None:
    index = sample.poses.groups.index("swing_0") + 10
    clip, frame = sample._at(index)
    lit = shade(
        rasterise(sample.camera, clip.scene, frame), sample.camera, clip.scene, clip.colours
    )
    mask = sample.person_mask(index)
    drawn = lit[..., 3].sum() / SUPERSAMPLING**2
    assert clip.scene.held.sum() == 2
    assert 0.8 * drawn < mask.sum() < drawn
    x, y, w, h = sample.poses.boxes[index]
    rows, columns = np.nonzero(mask)
    assert x - 1 <= columns.min() and columns.max() <= x + w + 1
    assert y - 1 <= rows.min() and rows.max() <= y + h + 1


def test_write_gives_pictures_and_labels_that_belong_together(tmp_path) -> None:
    sample = mannequin_frames(1, clips_per_action=1, frames_per_clip=2, image_size=64)
    path = sample.write(tmp_path / "mannequin")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert len(document["images"]) == len(document["annotations"]) == len(sample)
    for index in (0, len(sample) - 1):
        read = cv2.imread(str(path.parent / document["images"][index]["file_name"]))
        np.testing.assert_array_equal(read[..., ::-1], sample.image(index))
    points = np.array(document["annotations"][3]["keypoints"]).reshape(-1, 3)
    np.testing.assert_allclose(points[:, :2], sample.poses.keypoints[3], atol=0.51)
    np.testing.assert_array_equal(points[:, 2], sample.poses.visibility[3])


def test_bad_numbers_are_refused(sample: MannequinSample) -> None:
    with pytest.raises(ConfigError, match="clips_per_action = 0"):
        mannequin_frames(clips_per_action=0)
    with pytest.raises(ConfigError, match="seed = -1"):
        mannequin_frames(-1)
    with pytest.raises(IndexError, match="expected 0 to"):
        sample.image(len(sample))
