"""Captured motion on the mannequin: directions of captured bones, lengths of a drawn body.

Nothing but the 15 joints of ``body15`` is known of a captured pose. What else the body needs comes
from them: the trunk's axes from pelvis, neck, hips and shoulders; the head's from the neck, the
face looking where the chest does; the feet's from the planes in which the knees bend. A foot lies
flat where its ankle is low and stays square to the shank where it is lifted. The lower foot stands
on the floor in every frame, so jumps and the flight of a run lose their height.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flexpose.mannequin.body import (
    ANKLE_HEIGHT,
    FOREARM,
    HEAD_UP,
    HIP_HALF,
    LEFT,
    NECK_UP,
    SHIN,
    SHOULDER_HALF,
    SHOULDER_UP,
    THIGH,
    TOES,
    UP,
    UPPER_ARM,
    Body,
    Build,
    Part,
    apply,
    arm_parts,
    face,
    head_parts,
    leg_parts,
    trunk_parts,
    unit,
)
from flexpose.mannequin.motion import SIDES
from flexpose.skeleton import Skeleton

Array = NDArray[np.float64]

LEAN = np.radians(40)
"""A trunk further from the vertical than this is not upright."""
CROUCH = 0.72
"""Hips nearer to the lower ankle than this share of the leg's length are not upright."""


def world_from_mocap(points: Array) -> Array:
    """Motion capture's axes (y up, a person faces +z) to the mannequin's (z up, faces -y)."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def joints_by_name(points: Array, skeleton: Skeleton) -> dict[str, Array]:
    """Joint name -> (F, 3) of points (F, J, 3)."""
    return {name: points[:, i] for i, name in enumerate(skeleton.joints)}


def upright(at: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Bool (F,): the trunk near the vertical and the hips high; joint name -> (F, 3), z up."""
    trunk = unit(at["neck"] - at["pelvis"])
    leg = _length(at["left_knee"], at["left_hip"]) + _length(at["left_ankle"], at["left_knee"])
    ankle = np.minimum(at["left_ankle"][:, 2], at["right_ankle"][:, 2])
    high = at["pelvis"][:, 2] - ankle >= CROUCH * leg
    return np.asarray((trunk[:, 2] >= np.cos(LEAN)) & high)


def draw_build(rng: np.random.Generator) -> Build:
    """A grown-up between 1.55 and 2 metres, slim or stout."""
    return Build(
        height=rng.uniform(0.88, 1.06),
        trunk=rng.uniform(0.95, 1.15),
        width=rng.uniform(0.9, 1.12),
        arms=rng.uniform(0.93, 1.08),
        legs=rng.uniform(0.91, 1.04),
        girth=rng.uniform(0.84, 1.2),
    )


def captured_body(captured: Mapping[str, Array], build: Build) -> Body:
    """Joints and solids of a body in captured poses, the pelvis above the origin.

    Parameters
    ----------
    captured : joint name -> (F, 3) in any unit, z up
    """
    joints, skull, frames = _retargeted(captured, build)
    trunk = trunk_parts(joints["pelvis"], frames["hips"], frames["torso"], build)
    limbs: list[Part] = []
    soles: list[Part] = []
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        inner = sign * 0.09 * build.width * LEFT + 0.355 * build.trunk * UP
        yoke = joints["pelvis"] + apply(frames["torso"], inner)
        cloth = ("shirt", 1.0, "shirt")
        *leg, shoe, sole = leg_parts(joints, side, frames[side])
        limbs += [Part(yoke, joints[f"{side}_shoulder"], (0.066, 0.0615), cloth), *leg]
        limbs += arm_parts(joints, side)
        soles += [shoe, sole]
    stout = [
        replace(part, radii=(part.radii[0] * build.girth, part.radii[1] * build.girth))
        for part in trunk + limbs
    ]
    parts = [*stout, *head_parts(joints["neck"], skull, frames["head"]), *soles]
    return _standing(Body(joints, parts), build.height)


def _retargeted(
    at: Mapping[str, Array], build: Build
) -> tuple[dict[str, Array], Array, dict[str, Array]]:
    """Joints about the pelvis, the middle of the head, and frames (F, 3, 3)."""

    def bone(start: str, end: str, length: float) -> Array:
        return length * unit(at[end] - at[start])

    spine = unit(at["neck"] - at["pelvis"])
    frames = {
        "hips": _frame(spine, at["left_hip"] - at["right_hip"]),
        "torso": _frame(spine, at["left_shoulder"] - at["right_shoulder"]),
    }
    frames["head"] = _frame(unit(at["head"] - at["neck"]), frames["torso"][..., 0])
    joints = {"pelvis": np.zeros_like(spine), "neck": NECK_UP * build.trunk * spine}
    skull = joints["neck"] + bone("neck", "head", HEAD_UP - NECK_UP)
    joints["head"] = face(skull, frames["head"])
    clavicle = float(np.hypot(SHOULDER_HALF * build.width, NECK_UP - SHOULDER_UP))
    for side in SIDES:
        chain = (
            ("neck", "shoulder", clavicle),
            ("shoulder", "elbow", UPPER_ARM * build.arms),
            ("elbow", "wrist", FOREARM * build.arms),
            ("pelvis", "hip", HIP_HALF * build.width),
            ("hip", "knee", THIGH * build.legs),
            ("knee", "ankle", SHIN * build.legs),
        )
        for parent, child, length in chain:
            start = parent if parent in ("neck", "pelvis") else f"{side}_{parent}"
            joints[f"{side}_{child}"] = joints[start] + bone(start, f"{side}_{child}", length)
    lowest = np.minimum(joints["left_ankle"][:, 2], joints["right_ankle"][:, 2])
    for side in SIDES:
        frames[side] = _foot(joints, side, frames["hips"][..., 0], lowest)
    return joints, skull, frames


def _foot(joints: Mapping[str, Array], side: str, left: Array, lowest: Array) -> Array:
    """Frame of a foot: its left follows the knee's hinge, the more the knee is bent."""
    hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    thigh, shank = unit(knee - hip), unit(ankle - knee)
    hinge = unit(0.4 * left + np.cross(thigh, shank))
    square = unit(np.cross(hinge, -shank))
    level = unit(square * [1, 1, 0] + 1e-6 * np.cross(hinge, UP))
    lift = np.clip((ankle[:, 2] - lowest - 0.03) / 0.12, 0, 1)[:, None]
    forward = unit((1 - lift) * level + lift * square)
    return _frame(-forward, hinge, first=1)


def _frame(axis: Array, left: Array, first: int = 2) -> Array:
    """Right-handed frames (F, 3, 3), columns left, back, up.

    ``axis`` (F, 3), of length 1, is the column ``first`` (back or up); ``left`` need not be square
    to it.
    """
    left = unit(left - axis * (left * axis).sum(axis=1, keepdims=True))
    if first == 2:
        return np.stack([left, np.cross(axis, left), axis], axis=-1)
    return np.stack([left, axis, np.cross(left, axis)], axis=-1)


def _standing(body: Body, height: float) -> Body:
    """The body moved up or down so that its lower sole is on the floor, then made taller."""
    soles = [
        end for part in body.parts if part.paint[0] == "sole" for end in (part.start, part.end)
    ]
    drop = np.min([sole[:, 2] for sole in soles], axis=0) - (ANKLE_HEIGHT + TOES[2])

    def place(points: Array) -> Array:
        return height * (points - drop[:, None] * UP)

    return Body(
        {name: place(points) for name, points in body.joints.items()},
        [
            replace(
                part,
                start=place(part.start),
                end=place(part.end),
                radii=(height * part.radii[0], height * part.radii[1]),
            )
            for part in body.parts
        ],
    )


def moved(body: Body, root: Array, places: Array) -> Body:
    """The body turned by a matrix (3, 3) about the vertical, then put to ``places`` (F, 3)."""

    def there(points: Array) -> Array:
        return np.asarray(points @ root.T + places)

    return Body(
        {name: there(points) for name, points in body.joints.items()},
        [
            replace(
                part,
                start=there(part.start),
                end=there(part.end),
                frame=None if part.frame is None else root @ part.frame,
            )
            for part in body.parts
        ],
    )


def _length(end: Array, start: Array) -> Array:
    return np.asarray(np.linalg.norm(end - start, axis=1))
