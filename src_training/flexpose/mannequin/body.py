"""The mannequin's body: bone lengths, forward kinematics and the solids that clothe the bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexpose.mannequin.motion import SIDES, Motion

Array = NDArray[np.float64]

# metres: long legs, a short torso, a big head, unlike most people of photo collections
ANKLE_HEIGHT = 0.085
THIGH, SHIN = 0.50, 0.47
STANDING = 1.04  # height of the hip joints; straight legs would reach 15 mm higher
HIP_HALF, SHOULDER_HALF = 0.092, 0.178
SHOULDER_UP, NECK_UP, HEAD_UP = 0.375, 0.405, 0.595  # above the pelvis, along the torso
FACE = 0.085  # from the middle of the head forward to the keypoint between the eyes and mouth
UPPER_ARM, FOREARM, HAND = 0.285, 0.255, 0.085
STANCE_HALF = 0.115
TOES = np.array([0.0, -0.15, 0.022 - ANKLE_HEIGHT])  # seen from the ankle of a level foot
CLUB = 0.72

LEFT, BACK, UP = np.eye(3)


@dataclass(frozen=True)
class Build:
    """How a person differs from the lengths above: factors, 1 for none.

    Attributes
    ----------
    height : of everything
    trunk, arms, legs : of their bones' lengths
    width : of shoulders and hips
    girth : of the thickness of trunk and limbs
    """

    height: float = 1.0
    trunk: float = 1.0
    width: float = 1.0
    arms: float = 1.0
    legs: float = 1.0
    girth: float = 1.0


AVERAGE = Build()


@dataclass(frozen=True)
class Part:
    """A tapered capsule: all spheres between two, squashed along the axes of a frame.

    Attributes
    ----------
    start, end : (F, 3) world centres of the two spheres
    radii : metres at start and end
    paint : material, share of the way at which it changes, material from there on
    frame : (F, 3, 3) columns are the axes, or None for a round part
    squash : factors along those axes, 1 at most
    held : whether it is no part of the body
    """

    start: Array
    end: Array
    radii: tuple[float, float]
    paint: tuple[str, float, str]
    frame: Array | None = None
    squash: tuple[float, float, float] = (1.0, 1.0, 1.0)
    held: bool = False


@dataclass(frozen=True)
class Body:
    """A clip in three dimensions: joint name -> (F, 3) in metres, and the solids around them."""

    joints: dict[str, Array]
    parts: list[Part]


def pose_body(motion: Motion) -> Body:
    """Forward kinematics of a clip, with the legs led by their feet, and the body around it."""
    p = motion.track
    root = turn(p["heading"])
    zero = np.zeros_like(p["heading"])
    place = np.stack([p["place_x"], p["place_y"], zero], axis=1)
    shift = [p["pelvis_left"], -p["pelvis_forward"], STANDING + p["pelvis_up"]]
    pelvis = place + apply(root, np.stack(shift, axis=1))
    hips = root @ turn(p["pelvis_turn"]) @ _lean(p["pelvis_lean"])
    torso = hips @ turn(p["torso_turn"]) @ _lean(p["torso_lean"]) @ _side(p["torso_side"])
    head = torso @ turn(p["head_turn"]) @ _lean(p["head_nod"])
    skull = pelvis + apply(torso, NECK_UP * UP) + apply(head, (HEAD_UP - NECK_UP) * UP)
    joints = {
        "pelvis": pelvis,
        "neck": pelvis + apply(torso, NECK_UP * UP),
        "head": face(skull, head),
    }
    parts = trunk_parts(pelvis, hips, torso) + head_parts(joints["neck"], skull, head)
    for side in SIDES:
        sign = 1.0 if side == "left" else -1.0
        joints |= _arm(motion, side, sign, pelvis, torso)
        leg, foot = _leg(motion, side, sign, place, root, pelvis, hips)
        joints |= leg
        parts += leg_parts(joints, side, foot)
    if motion.club_hand:
        parts += _hold_club(motion, joints, torso)
    for side in SIDES:
        parts += arm_parts(joints, side)
    return Body(joints, parts)


def _arm(motion: Motion, side: str, sign: float, pelvis: Array, torso: Array) -> dict[str, Array]:
    """Shoulder, elbow and wrist from the angles of ``motion.LIMBS``."""
    raise_, out, twist, bend = (
        motion.track[f"{side}_{n}"] for n in ("arm_raise", "arm_out", "arm_twist", "elbow")
    )
    outward = np.stack([sign * np.sin(out), -np.cos(out), 0 * out], axis=1)
    inward = np.stack([-sign * np.cos(out), -np.sin(out), 0 * out], axis=1)
    upper = _mix(np.sin(raise_), outward, -np.cos(raise_), np.broadcast_to(UP, outward.shape))
    higher = _mix(np.cos(raise_), outward, np.sin(raise_), np.broadcast_to(UP, outward.shape))
    lower = _mix(
        np.cos(bend), upper, np.sin(bend), _mix(np.cos(twist), higher, np.sin(twist), inward)
    )
    shoulder = pelvis + apply(torso, SHOULDER_UP * UP + sign * SHOULDER_HALF * LEFT)
    elbow = shoulder + UPPER_ARM * apply(torso, upper)
    wrist = elbow + FOREARM * apply(torso, lower)
    return {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow, f"{side}_wrist": wrist}


def _leg(
    motion: Motion, side: str, sign: float, place: Array, root: Array, pelvis: Array, hips: Array
) -> tuple[dict[str, Array], Array]:
    """Hip, knee and ankle that put the foot where the motion wants it; and the foot's frame."""
    out, forward, up, toe_out, heel = (
        motion.track[f"{side}_{n}"]
        for n in ("foot_out", "foot_forward", "foot_up", "toe_out", "heel")
    )
    level = root @ turn(sign * toe_out)
    foot = level @ _lean(heel)
    rest = np.stack([sign * (STANCE_HALF + out), -forward, ANKLE_HEIGHT + up], axis=1)
    # the heel rises about the toes, which stay
    ankle = place + apply(root, rest) + apply(level, TOES) - apply(foot, TOES)
    hip = pelvis + apply(hips, sign * HIP_HALF * LEFT)
    reach = ankle - hip
    forward_of_leg = np.cross(reach, apply(level, LEFT))
    knee, ankle = _two_bones(hip, ankle, THIGH, SHIN, forward_of_leg)
    return {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": ankle}, foot


def _hold_club(motion: Motion, joints: dict[str, Array], torso: Array) -> list[Part]:
    """Lead the other hand to the club hand (changes ``joints``), and give the club."""
    lead = motion.club_hand
    other, sign = ("right", 1.0) if lead == "left" else ("left", -1.0)
    wrist = joints[f"{lead}_wrist"]
    arm = unit(wrist - joints[f"{lead}_elbow"])
    # the plane of the wrist's bend: up and away from the lead arm's side
    across = apply(torso, -0.35 * sign * LEFT - 0.6 * BACK + 0.75 * UP)
    normal = unit(across - arm * (across * arm).sum(axis=1, keepdims=True))
    cock = motion.track["club"]
    shaft = _mix(np.cos(cock), arm, np.sin(cock), normal)
    grip = wrist + 0.06 * arm
    shoulder = joints[f"{other}_shoulder"]
    aim = wrist + 0.07 * shaft + 0.01 * arm
    elbow_side = apply(torso, -sign * 0.8 * LEFT - UP)
    elbow, hand = _two_bones(shoulder, aim, UPPER_ARM, FOREARM, elbow_side)
    joints[f"{other}_elbow"], joints[f"{other}_wrist"] = elbow, hand
    tip = grip + CLUB * shaft
    return [
        Part(grip - 0.08 * shaft, tip, (0.012, 0.008), ("rubber", 0.3, "steel"), held=True),
        Part(tip, tip + 0.06 * normal, (0.022, 0.018), ("rubber", 1.0, "rubber"), held=True),
    ]


def _two_bones(
    root: Array, aim: Array, first: float, second: float, bend: Array
) -> tuple[Array, Array]:
    """Middle and end joint of two bones that reach for ``aim``, the middle pushed to ``bend``.

    Out of reach, the end stays on the line to the aim, the bones all but straight.
    """
    line = aim - root
    distance = np.linalg.norm(line, axis=1, keepdims=True)
    line = line / distance
    distance = np.clip(distance, abs(first - second) + 0.05, 0.9995 * (first + second))
    along = (distance**2 + first**2 - second**2) / (2 * distance)
    aside = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    bend = unit(bend - line * (bend * line).sum(axis=1, keepdims=True))
    return root + along * line + aside * bend, root + distance * line


def face(skull: Array, head: Array) -> Array:
    """The keypoint between the eyes and mouth, (F, 3), of a head (F, 3, 3) around ``skull``."""
    return skull - apply(head, FACE * BACK + 0.012 * UP)


def trunk_parts(pelvis: Array, hips: Array, torso: Array, build: Build = AVERAGE) -> list[Part]:
    """Trousers and shirt around the pelvis (F, 3); ``hips`` and ``torso`` are frames (F, 3, 3)."""

    def at(left: float, up: float, back: float = 0.0, frame: Array = torso) -> Array:
        place = left * build.width * LEFT + back * BACK + up * build.trunk * UP
        return pelvis + apply(frame, place)

    def shirt(a: Array, b: Array, radii: tuple[float, float], depth: float) -> Part:
        return Part(a, b, radii, ("shirt", 1.0, "shirt"), torso, (1.0, depth, 1.0))

    def trousers(half: float, up: float, back: float, radius: float) -> Part:
        ends = at(half, up, back, hips), at(-half, up, back, hips)
        cloth = ("trousers", 1.0, "trousers")
        return Part(*ends, (radius, radius), cloth, hips, (1.0, 0.92, 1.0))

    return [
        trousers(0.052, 0.0, 0.010, 0.108),
        trousers(0.050, 0.05, 0.004, 0.100),
        shirt(at(0, 0.13), at(0, 0.285), (0.136, 0.167), 0.69),
        shirt(at(0.125, 0.362, 0.008), at(-0.125, 0.362, 0.008), (0.062, 0.062), 1.0),
        shirt(at(0.05, 0.30), at(-0.05, 0.30), (0.108, 0.108), 0.95),
        Part(at(0, 0.355), at(0, NECK_UP + 0.012), (0.105, 0.066), ("shirt", 0.9, "collar")),
    ]


def head_parts(neck: Array, skull: Array, head: Array) -> list[Part]:
    """Neck, head, hair and face; ``skull`` is the middle of the head (F, 3)."""

    def at(left: float, forward: float, up: float) -> Array:
        return skull + apply(head, left * LEFT - forward * BACK + up * UP)

    def ball(
        centre: Array, radius: float, material: str, squash: tuple[float, float, float] = (1, 1, 1)
    ) -> Part:
        return Part(centre, centre, (radius, radius), (material, 1.0, material), head, squash)

    skin = ("skin", 1.0, "skin")
    parts = [
        Part(neck - apply(head, 0.02 * UP), at(0, -0.015, -0.06), (0.057, 0.054), skin),
        Part(
            at(0, 0.022, -0.062), at(0, -0.004, 0.035), (0.078, 0.121), skin, head, (0.86, 0.98, 1)
        ),
        ball(at(0, -0.023, 0.05), 0.129, "hair", (0.88, 0.98, 1.0)),
        Part(at(0, 0.118, -0.005), at(0, 0.126, -0.028), (0.010, 0.017), skin),
    ]
    for sign in (1.0, -1.0):
        parts += [
            ball(at(sign * 0.041, 0.089, 0.008), 0.0155, "eye"),
            ball(at(sign * 0.102, -0.012, -0.012), 0.03, "skin", (0.5, 0.7, 1.0)),
        ]
    left, right = at(0.018, 0.087, -0.073), at(-0.018, 0.087, -0.073)
    return [*parts, Part(left, right, (0.0105, 0.0105), ("mouth", 1.0, "mouth"))]


def arm_parts(joints: dict[str, Array], side: str) -> list[Part]:
    """Sleeve, forearm and hand of one side."""
    shoulder, elbow, wrist = (joints[f"{side}_{n}"] for n in ("shoulder", "elbow", "wrist"))
    along = unit(wrist - elbow)
    return [
        Part(shoulder, elbow, (0.0615, 0.045), ("shirt", 0.58, "sleeve")),
        Part(elbow, wrist, (0.0435, 0.031), ("sleeve", 0.96, "skin")),
        Part(wrist + 0.015 * along, wrist + HAND * along, (0.029, 0.033), ("skin", 1.0, "skin")),
    ]


def leg_parts(joints: dict[str, Array], side: str, foot: Array) -> list[Part]:
    """Thigh, shank, shoe and, last, its sole of one side; ``foot`` is the foot's frame."""
    hip, knee, ankle = (joints[f"{side}_{n}"] for n in ("hip", "knee", "ankle"))

    def at(forward: float, up: float) -> Array:
        return ankle + apply(foot, -forward * BACK + up * UP)

    flat = (0.95, 1.0, 0.5)
    return [
        Part(hip, knee, (0.09, 0.063), ("trousers", 1.0, "trousers")),
        Part(knee, ankle, (0.0615, 0.047), ("shin", 0.98, "sock")),
        Part(
            at(-0.025, -0.042),
            at(0.145, -0.052),
            (0.052, 0.040),
            ("shoe", 1.0, "shoe"),
            foot,
            (1, 1, 0.8),
        ),
        Part(
            at(-0.028, -0.062), at(0.15, -0.063), (0.053, 0.046), ("sole", 1.0, "sole"), foot, flat
        ),
    ]


def apply(frame: Array, vector: Array) -> Array:
    """Frames (F, 3, 3) times a vector (3,) or vectors (F, 3)."""
    return np.einsum("fij,j->fi" if vector.ndim == 1 else "fij,fj->fi", frame, vector)


def _mix(a: Array, x: Array, b: Array, y: Array) -> Array:
    return a[:, None] * x + b[:, None] * y


def unit(vectors: Array) -> Array:
    """Vectors (F, 3) of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _rotation(angle: Array, axis: int) -> Array:
    """Right-handed rotations (F, 3, 3) about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, axis, axis] = 1
    matrix[:, i, i] = matrix[:, j, j] = np.cos(angle)
    matrix[:, j, i] = np.sin(angle)
    matrix[:, i, j] = -np.sin(angle)
    return matrix


def _lean(angle: Array) -> Array:
    """Forward about the left axis."""
    return _rotation(angle, 0)


def _side(angle: Array) -> Array:
    """To the left about the back axis."""
    return _rotation(angle, 1)


def turn(angle: Array) -> Array:
    """Frames (F, 3, 3) turned to the left about the vertical."""
    return _rotation(angle, 2)
