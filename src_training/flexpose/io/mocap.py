"""Motion capture: 3-D joints seen by pinhole cameras that are written out, as ``body15`` poses.

Files are ``.npz`` with ``xyz`` (T, J, 3), ``clip`` (T,) and ``parents`` (J,): Bandai-Namco (metres,
with ``joints``) and the 38-joint CMU subset (millimetres). Both are right-handed, y up, in front of
a person who faces +z. World coordinates below are metres.

Joints by rule: limbs are the joint centres of the same name. Bandai's neck and CMU's joint 17 are
*neck*, the midpoint of the hips is *pelvis*. Neither marks the face, so *head* lies on the line
from the neck through the base of the skull: Bandai ``2 Head - Neck``, CMU ``(2 x[18] + x[19]) / 3``
(19 is its top). Both stand 0.40 of shoulder-to-hip length above the shoulders, near COCO's nose
(median 0.33 in images of upright people, foreshortening included).

Nothing hides anything: every joint in front of a camera is visible, and clothes or flesh are not
modelled. A joint behind a camera is not labelled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import ConfigError, DataFormatError
from flexpose.io.base import (
    Format,
    check_array,
    check_positions,
    npz_names,
    read_npz,
    seen_inside,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

Vector = tuple[float, float, float]
NEAR = 0.1
"""Metres; what is nearer to the camera, or behind it, is not labelled."""

JointRule = Mapping[str, Mapping[str, float]]
"""Joint of body15 -> weights of the joints that it is the sum of."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Pinhole camera without distortion, principal point in the image centre.

    Attributes
    ----------
    eye, target : positions in world metres; the camera looks from one to the other
    up : world direction that stands upright in the image
    focal : focal length in pixels
    image_size : width and height in pixels
    """

    eye: Vector
    target: Vector
    up: Vector = (0.0, 1.0, 0.0)
    focal: float = 1150.0
    image_size: tuple[int, int] = (1000, 1000)

    def axes(self) -> NDArray[np.float64]:
        """Rows: the camera's right, down and forward directions in world coordinates (3, 3).

        Raises
        ------
        ConfigError : the camera looks nowhere or along ``up``.
        """
        forward = np.subtract(self.target, self.eye).astype(float)
        right = np.cross(forward, self.up)
        if not np.linalg.norm(right) > 1e-9:
            raise ConfigError(
                f"The camera at {self.eye} looks at {self.target}, which gives no direction "
                f"across {self.up}.",
                "Move the target, or choose another direction for up.",
            )
        right /= np.linalg.norm(right)
        forward /= np.linalg.norm(forward)
        return np.stack([right, np.cross(forward, right), forward])

    def world_to_image(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Project float (..., 3) world metres to float32 (..., 2) image pixels.

        NaN where a point is behind the camera or nearer than ``NEAR``.
        """
        seen = (np.asarray(points, dtype=float) - self.eye) @ self.axes().T
        depth = np.where(seen[..., 2:] >= NEAR, seen[..., 2:], np.nan)
        centre = (np.array(self.image_size) - 1) / 2
        return (self.focal * seen[..., :2] / depth + centre).astype(np.float32)


def corner_cameras(
    distance: float = 5.0,
    height: float = 1.5,
    target_height: float = 0.9,
    focal: float = 1150.0,
    image_size: tuple[int, int] = (1000, 1000),
) -> tuple[Camera, ...]:
    """Four fixed cameras in the corners of a room, as in Human3.6M, that look at its middle.

    Parameters
    ----------
    distance : metres along the floor from the middle to each camera
    height, target_height : metres above the floor of the camera and of what it looks at
    focal : pixels; 1145 to 1150 in Human3.6M, with images of 1000 pixels
    """
    angles = [math.radians(45 + 90 * corner) for corner in range(4)]
    return tuple(
        Camera(
            eye=(distance * math.sin(angle), height, distance * math.cos(angle)),
            target=(0.0, target_height, 0.0),
            focal=focal,
            image_size=image_size,
        )
        for angle in angles
    )


def project(
    points: NDArray[np.floating],
    cameras: Sequence[Camera],
    clips: Sequence[str],
    frames: Sequence[int],
) -> PoseSet:
    """See 3-D poses through cameras: all frames of the first camera, then of the next.

    Parameters
    ----------
    points : float (T, 15, 3), joints of body15 in world metres
    clips, frames : T names and numbers; poses are named "clip/cam0/frame" and grouped by clip
    """
    views = [camera.world_to_image(points) for camera in cameras]
    return PoseSet.concat(
        [
            PoseSet(
                skeleton=load_skeleton("body15"),
                keypoints=view,
                visibility=seen_inside(view, np.array(camera.image_size)),
                image_size=np.array(camera.image_size),
                image_ids=tuple(
                    f"{clip}/cam{number}/{frame}" for clip, frame in zip(clips, frames, strict=True)
                ),
                groups=tuple(clips),
                source=(f"camera {number}: {camera}",),
            )
            for number, (camera, view) in enumerate(zip(cameras, views, strict=True))
        ]
    )


def read_mocap(
    path: Path, *, image_root: Path | None = None, cameras: Sequence[Camera] | None = None
) -> PoseSet:
    """Read a clip collection and see it through cameras (the four of ``corner_cameras``).

    Each clip is moved along the floor so that the middle of its pelvis track stands at the origin,
    and down or up so that its lowest joint touches the floor: cameras can then stay fixed.

    Raises
    ------
    DataFormatError : the file is missing, damaged, or of another skeleton.
    """
    clips, points = read_mocap_3d(path)
    frames = np.zeros(len(clips), dtype=np.int64)
    for rows in _rows_by_clip(clips):
        points[rows] = on_floor(points[rows])
        frames[rows] = np.arange(len(rows))
    poses = project(points, cameras or corner_cameras(), clips, frames.tolist())
    return poses.with_note(f"motion capture {path.name}; each clip centred on the floor")


def read_mocap_3d(path: Path) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Clip names (T) and body15 joints in 3-D, float64 (T, 15, 3), world metres.

    Raises
    ------
    DataFormatError : the file is missing, damaged, or of another skeleton.
    """
    named = "joints" in npz_names(path)
    data = read_npz(path, ("xyz", "clip", "parents", *(("joints",) if named else ())))
    num_joints = len(data["parents"]) if data["parents"].ndim else 0
    n = len(data["clip"]) if data["clip"].ndim else 0
    check_array(path, "xyz", data["xyz"], (n, num_joints, 3), "f")
    check_array(path, "clip", data["clip"], (n,), "U")
    xyz = data["xyz"].astype(np.float64)
    check_positions(path, "xyz", xyz)
    names = data["joints"].ravel().tolist() if named else []
    if named and joints_of(BANDAI_RULE) <= set(names):
        joints, rule, metres = names, BANDAI_RULE, 1.0
    elif not named and num_joints == 38:
        joints, rule, metres = [str(i) for i in range(38)], _CMU, 0.001
    else:
        raise DataFormatError(
            path, "joints", "found neither Bandai-Namco's joints nor the 38 joints of CMU"
        )
    if len(joints) != num_joints:
        raise DataFormatError(path, "joints", f"{len(joints)} names for {num_joints} joints")
    return tuple(data["clip"].tolist()), body15_joints(xyz * metres, joints, rule)


def body15_joints(
    xyz: NDArray[np.float64], joints: Sequence[str], rule: JointRule
) -> NDArray[np.float64]:
    """Joints of body15, float64 (T, 15, 3), from named joints (T, J, 3) in the same unit."""
    weights = np.zeros((15, len(joints)))
    for row, name in zip(weights, load_skeleton("body15").joints, strict=True):
        for joint, weight in rule[name].items():
            row[joints.index(joint)] = weight
    return np.asarray(np.einsum("bj,tjc->tbc", weights, xyz))


def on_floor(track: NDArray[np.float64]) -> NDArray[np.float64]:
    """A clip (T, 15, 3) moved so that its pelvis track is centred and it touches the floor."""
    pelvis = track[:, 2].mean(axis=0)
    return track - (pelvis[0], track[..., 1].min(), pelvis[2])


def joints_of(rule: JointRule) -> set[str]:
    """Names of the source joints that a rule needs."""
    return {name for parts in rule.values() for name in parts}


def is_mocap(path: Path) -> bool:
    """Whether the file is an ``.npz`` with 3-D joints of clips."""
    return npz_names(path).issuperset(("xyz", "clip", "parents"))


def _rows_by_clip(clips: Sequence[str]) -> list[NDArray[np.intp]]:
    """Row numbers of each clip, in file order."""
    _, inverse = np.unique(np.array(clips), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1) if len(order) else []


BANDAI_RULE: JointRule = {
    "neck": {"Neck": 1},
    "head": {"Head": 2, "Neck": -1},
    "pelvis": {"UpperLeg_L": 0.5, "UpperLeg_R": 0.5},
    **{
        f"{side}_{joint}": {f"{name}_{letter}": 1}
        for side, letter in (("left", "L"), ("right", "R"))
        for joint, name in (
            ("shoulder", "UpperArm"),
            ("elbow", "LowerArm"),
            ("wrist", "Hand"),
            ("hip", "UpperLeg"),
            ("knee", "LowerLeg"),
            ("ankle", "Foot"),
        )
    },
}

_CMU: JointRule = {  # joint numbers from 0
    "neck": {"17": 1},
    "head": {"18": 2 / 3, "19": 1 / 3},
    "pelvis": {"2": 0.5, "8": 0.5},
    **{
        f"{side}_{joint}": {str(first + step): 1}
        for side, leg, arm in (("left", 2, 21), ("right", 8, 30))
        for first, names in ((leg, ("hip", "knee", "ankle")), (arm, ("shoulder", "elbow", "wrist")))
        for step, joint in enumerate(names)
    },
}

FORMAT = Format(
    name="mocap",
    summary="Bandai-Namco and CMU motion capture as .npz, seen by four cameras",
    sniff=is_mocap,
    read=read_mocap,
)
