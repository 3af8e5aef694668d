"""Actions of the mannequin: key poses, smooth in-betweens and what differs from clip to clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pose = dict[str, float]

FRAMES_PER_SECOND = 10.0
SIDES = ("left", "right")

NEUTRAL: Pose = {
    # metres from the place where the person stands, in the person's axes
    "pelvis_left": 0.0,
    "pelvis_forward": 0.0,
    "pelvis_up": 0.0,
    # degrees; leans go forward, turns and sides to the person's left
    "pelvis_turn": 0.0,
    "pelvis_lean": 0.0,
    "torso_turn": 0.0,
    "torso_lean": 2.0,
    "torso_side": 0.0,
    "head_turn": 0.0,
    "head_nod": 4.0,
    "club": 0.0,
}
"""Parameters of a pose; those of the limbs, listed next, exist with ``left_`` and ``right_``."""

LIMBS: Pose = {
    "arm_raise": 6.0,  # degrees from hanging down: 90 level, 180 overhead
    "arm_out": 60.0,  # degrees; where a raise leads: 0 forward, 90 outward, below 0 across the body
    "arm_twist": 0.0,  # degrees; turns the plane in which the elbow bends inward
    "elbow": 14.0,  # degrees of bend, never below 0
    "foot_out": 0.0,  # metres from the normal stance
    "foot_forward": 0.0,
    "foot_up": 0.0,
    "toe_out": 9.0,  # degrees
    "heel": 0.0,  # degrees by which the heel rises about the toes
}

_METRES = ("pelvis_left", "pelvis_forward", "pelvis_up", "foot_out", "foot_forward", "foot_up")
_LATERAL = ("pelvis_left", "pelvis_turn", "torso_turn", "torso_side", "head_turn")


def key(**values: float) -> Pose:
    """Key pose: the neutral pose with changes; a limb parameter without a side means both."""
    both = {name: values.pop(name, normal) for name, normal in LIMBS.items()}
    sides = {f"{side}_{name}": value for side in SIDES for name, value in both.items()}
    return NEUTRAL | sides | values


def mirrored(pose: Mapping[str, float]) -> Pose:
    """The same pose with the other hand and foot."""
    swap = {"left": "right", "right": "left"}
    flipped = {}
    for name, value in pose.items():
        side, _, rest = name.partition("_")
        if side in swap:
            flipped[f"{swap[side]}_{rest}"] = value
        else:
            flipped[name] = -value if name in _LATERAL else value
    return flipped


@dataclass(frozen=True)
class Action:
    """A cyclic motion.

    Attributes
    ----------
    period : seconds of one cycle
    keys : (phase from 0 to below 1, pose), in order
    headings : range of the body's heading in degrees; 0 faces the camera
    club : whether the second hand holds on to the first, and both hold a club
    """

    period: float
    keys: tuple[tuple[float, Pose], ...]
    headings: tuple[float, float] = (-65.0, 65.0)
    club: bool = False


def _march() -> Action:
    arms = {"arm_out": 12.0, "elbow": 55.0}
    up = key(
        **arms, left_foot_up=0.26, left_foot_forward=0.15, left_heel=22,
        left_arm_raise=-28, right_arm_raise=42, left_elbow=35, right_elbow=70,
        pelvis_left=-0.05, torso_turn=-4, pelvis_turn=3,
    )  # fmt: skip
    down = key(**arms, arm_raise=6, pelvis_up=-0.01)
    return Action(1.25, ((0.0, up), (0.25, down), (0.5, mirrored(up)), (0.75, down)))


def _squat() -> Action:
    stance = {"foot_out": 0.07, "toe_out": 24.0}
    stand = key(**stance, arm_raise=14, arm_out=25, pelvis_up=-0.01)
    low = key(
        **stance, pelvis_up=-0.44, pelvis_forward=-0.2, pelvis_lean=26, torso_lean=16,
        arm_raise=112, arm_out=12, elbow=8, head_nod=-22,
    )  # fmt: skip
    return Action(2.3, ((0.0, stand), (0.12, stand), (0.48, low), (0.6, low)))


def _jack() -> Action:
    shut = key(arm_raise=8, arm_out=88, elbow=8, foot_out=-0.02, pelvis_up=-0.03)
    fly = key(arm_raise=88, arm_out=88, foot_out=0.14, foot_up=0.07, pelvis_up=0.035, heel=28)
    open_ = key(
        arm_raise=158,
        arm_out=86,
        elbow=22,
        foot_out=0.27,
        pelvis_up=-0.085,
        toe_out=18,
        head_nod=-4,
    )
    return Action(1.45, ((0.0, shut), (0.25, fly), (0.5, open_), (0.75, fly)), (-50.0, 50.0))


def _throw() -> Action:
    feet = {"left_foot_forward": 0.2, "right_foot_forward": -0.2, "foot_out": 0.03}
    ready = key(
        **feet, right_toe_out=35, arm_raise=40, arm_out=15, elbow=85, arm_twist=25,
        pelvis_up=-0.05, pelvis_turn=-15,
    )  # fmt: skip
    cocked = key(
        **feet, right_toe_out=45, pelvis_forward=-0.12, pelvis_up=-0.09, pelvis_turn=-32,
        torso_turn=-34, torso_lean=-12, torso_side=-6, head_turn=55,
        right_arm_raise=96, right_arm_out=108, right_elbow=98,
        left_arm_raise=88, left_arm_out=62, left_elbow=12,
    )  # fmt: skip
    whip = key(
        **feet, right_toe_out=38, right_heel=14, pelvis_forward=0.04, pelvis_up=-0.09,
        pelvis_turn=6, torso_turn=4, torso_lean=2, torso_side=10, head_turn=-5,
        right_arm_raise=124, right_arm_out=80, right_elbow=84,
        left_arm_raise=55, left_arm_out=40, left_elbow=60,
    )  # fmt: skip
    release = key(
        **feet, right_toe_out=30, right_heel=34, pelvis_forward=0.12, pelvis_up=-0.1,
        pelvis_turn=20, torso_turn=22, torso_lean=22, torso_side=8, head_turn=-25,
        right_arm_raise=128, right_arm_out=22, right_elbow=16,
        left_arm_raise=18, left_arm_out=70, left_elbow=95,
    )  # fmt: skip
    through = key(
        **feet, right_toe_out=24, right_heel=42, pelvis_forward=0.15, pelvis_up=-0.12,
        pelvis_turn=28, torso_turn=30, torso_lean=38, head_turn=-30, head_nod=-15,
        right_arm_raise=48, right_arm_out=-28, right_elbow=30,
        left_arm_raise=-20, left_arm_out=20, left_elbow=80,
    )  # fmt: skip
    keys = ((0.0, ready), (0.32, cocked), (0.49, whip), (0.62, release), (0.8, through))
    return Action(2.4, keys, (-80.0, 40.0))


def _swing() -> Action:
    feet = {"foot_out": 0.07, "toe_out": 14.0}
    address = key(
        **feet, pelvis_up=-0.07, pelvis_forward=-0.09, pelvis_lean=16, torso_lean=20,
        left_arm_raise=44, left_arm_out=-38, left_elbow=10, head_nod=18, club=28,
    )  # fmt: skip
    half = key(
        **feet, pelvis_up=-0.07, pelvis_forward=-0.08, pelvis_lean=14, torso_lean=20,
        pelvis_turn=-18, torso_turn=-34, left_arm_raise=62, left_arm_out=-42, left_elbow=5,
        head_nod=16, head_turn=38, club=60,
    )  # fmt: skip
    top = key(
        **feet, pelvis_up=-0.07, pelvis_forward=-0.07, pelvis_lean=12, torso_lean=18,
        pelvis_left=-0.03, pelvis_turn=-34, torso_turn=-52, left_arm_raise=112, left_arm_out=-48,
        left_elbow=10, head_nod=14, head_turn=62, left_heel=12, club=85,
    )  # fmt: skip
    impact = key(
        **feet, pelvis_up=-0.06, pelvis_forward=-0.05, pelvis_lean=12, torso_lean=20,
        pelvis_left=0.05, pelvis_turn=24, torso_turn=-8, left_arm_raise=44, left_arm_out=-40,
        left_elbow=10, head_nod=18, head_turn=-10, right_heel=16, club=22,
    )  # fmt: skip
    past = key(
        **feet, pelvis_up=-0.05, pelvis_left=0.08, pelvis_turn=44, torso_turn=18, torso_lean=14,
        pelvis_lean=6, left_arm_raise=72, left_arm_out=-34, left_elbow=16, head_turn=-20,
        head_nod=14, right_heel=34, right_toe_out=-8, club=40,
    )  # fmt: skip
    finish = key(
        **feet, pelvis_up=-0.03, pelvis_left=0.11, pelvis_turn=62, torso_turn=38, torso_lean=-2,
        left_arm_raise=104, left_arm_out=14, left_elbow=98, left_arm_twist=34,
        head_nod=0, right_heel=48, right_toe_out=-26, club=70,
    )  # fmt: skip
    keys = (
        (0.0, address), (0.04, address), (0.15, half), (0.28, top), (0.31, top), (0.46, impact),
        (0.56, past), (0.7, finish), (0.74, finish),
    )  # fmt: skip
    return Action(3.4, keys, (-55.0, 45.0), club=True)


def _bend() -> Action:
    feet = {"foot_out": 0.1, "toe_out": 16.0}
    tall = key(
        **feet, arm_raise=148, arm_out=48, elbow=14, torso_lean=-6, head_nod=-16, pelvis_up=-0.02
    )
    low = key(
        **feet, pelvis_up=-0.13, pelvis_forward=-0.2, pelvis_lean=48, torso_lean=42, torso_turn=38,
        right_arm_raise=84, right_arm_out=-22, right_elbow=6,
        left_arm_raise=70, left_arm_out=84, left_elbow=10, head_nod=5, head_turn=10,
    )  # fmt: skip
    return Action(4.0, ((0.0, tall), (0.25, low), (0.5, tall), (0.75, mirrored(low))))


def _kick() -> Action:
    guard = {"arm_out": 25.0, "elbow": 95.0, "arm_twist": 20.0, "left_toe_out": 22.0}
    ready = key(
        **guard, arm_raise=35, left_foot_forward=0.06, right_foot_forward=-0.1, pelvis_up=-0.03
    )
    back = key(
        **guard, left_foot_forward=0.06, right_foot_forward=-0.42, right_foot_up=0.3,
        right_heel=48, pelvis_up=-0.035, pelvis_left=0.07, torso_lean=8, torso_turn=-12,
        left_arm_raise=72, right_arm_raise=-20, right_elbow=60, left_elbow=50,
    )  # fmt: skip
    knee = key(
        **guard, left_foot_forward=0.06, right_foot_forward=0.22, right_foot_up=0.42,
        right_heel=26, pelvis_up=-0.03, pelvis_left=0.09, pelvis_lean=-4, torso_lean=4,
        left_arm_raise=48, right_arm_raise=30, right_elbow=80,
    )  # fmt: skip
    out = key(
        **guard, left_foot_forward=0.06, right_foot_forward=1.1, right_foot_up=0.95,
        right_heel=-30, pelvis_up=-0.03, pelvis_left=0.1, pelvis_lean=-16, torso_lean=-4,
        left_arm_raise=10, left_elbow=60, right_arm_raise=48, right_arm_out=70, right_elbow=30,
    )  # fmt: skip
    keys = ((0.0, ready), (0.08, ready), (0.3, back), (0.46, knee), (0.6, out), (0.76, knee))
    return Action(2.2, keys, (-70.0, 40.0))


def _stretch() -> Action:
    side = key(
        foot_out=0.16, toe_out=16, pelvis_up=-0.045, pelvis_left=0.05, torso_side=-30,
        left_arm_raise=162, left_arm_out=78, left_elbow=34,
        right_arm_raise=40, right_arm_out=98, right_elbow=108, right_arm_twist=146, head_turn=10,
    )  # fmt: skip
    wide = key(foot_out=0.16, toe_out=16, pelvis_up=-0.04, arm_raise=88, arm_out=86, elbow=10)
    return Action(3.4, ((0.0, side), (0.25, wide), (0.5, mirrored(side)), (0.75, wide)))


ACTIONS: dict[str, Action] = {
    "march": _march(),
    "squat": _squat(),
    "jack": _jack(),
    "throw": _throw(),
    "swing": _swing(),
    "bend": _bend(),
    "kick": _kick(),
    "stretch": _stretch(),
}


def cyclic_interpolation(phases: Array, times: Array, values: Array) -> Array:
    """Monotone cubic in-betweens of cyclic key values: no value leaves the range of its two keys.

    Slopes are the harmonic means of Fritsch and Butland (SIAM J. Sci. Stat. Comput. 5, 1984).

    Parameters
    ----------
    phases : (F,) cycles, any value
    times : (K,) phases of the keys, rising from 0 to below 1
    values : (K, P)

    Returns
    -------
    (F, P)
    """
    step = np.diff(times, append=times[0] + 1)
    secant = (np.roll(values, -1, axis=0) - values) / step[:, None]
    before = np.roll(secant, 1, axis=0)
    product = before * secant
    slope = np.where(product > 0, 2 * product / np.where(product > 0, before + secant, 1.0), 0.0)
    phases = np.mod(phases, 1.0)
    k = np.searchsorted(times, phases, side="right") - 1
    after = (k + 1) % len(times)
    u = ((phases - times[k]) / step[k])[:, None]
    h = step[k][:, None]
    return (
        values[k] * (1 + 2 * u) * (1 - u) ** 2
        + values[after] * u**2 * (3 - 2 * u)
        + h * slope[k] * u * (1 - u) ** 2
        - h * slope[after] * u**2 * (1 - u)
    )


@dataclass(frozen=True)
class Motion:
    """A clip of F frames.

    Attributes
    ----------
    track : pose parameter -> (F,) in metres and radians; with ``heading``, ``place_x`` and
        ``place_y`` of the body in the world
    club_hand : ``left`` or ``right``, the hand that leads a club; empty without one
    """

    track: dict[str, Array]
    club_hand: str = ""


def clip_motion(action: Action, rng: np.random.Generator, frames: int) -> Motion:
    """One clip of an action, with its own speed, amplitude, phase, side, heading and place."""
    keys = [pose for _, pose in action.keys]
    other_side = rng.random() < 0.5
    if other_side:
        keys = [mirrored(pose) for pose in keys]
        low, high = -action.headings[1], -action.headings[0]
    else:
        low, high = action.headings
    names = list(keys[0])
    values = np.array([[pose[name] for name in names] for pose in keys])
    # shrinking towards the key value nearest to neutral keeps every angle within its keys' range
    calm = np.clip([key()[name] for name in names], values.min(axis=0), values.max(axis=0))
    values = calm + rng.uniform(0.84, 1.0) * (values - calm)
    seconds = np.arange(frames) / FRAMES_PER_SECOND
    speed = rng.uniform(0.8, 1.15)
    phases = rng.random() + seconds * speed / action.period
    times = np.array([time for time, _ in action.keys])
    track = dict(zip(names, cyclic_interpolation(phases, times, values).T, strict=True))
    for name, size in (("torso_turn", 2.5), ("torso_side", 1.5), ("head_turn", 7), ("head_nod", 4)):
        wave = 2 * np.pi * (rng.uniform(0.25, 0.6) * seconds + rng.random())
        track[name] = track[name] + size * np.sin(wave)
    track = {n: v if n.endswith(_METRES) else np.radians(v) for n, v in track.items()}
    track["heading"] = np.full(frames, np.radians(rng.uniform(low, high)))
    for axis in ("place_x", "place_y"):
        track[axis] = np.full(frames, rng.uniform(-0.12, 0.12))
    hand = ("right" if other_side else "left") if action.club else ""
    return Motion(track, hand)
