"""Motion capture as ``.bvh`` text, seen by pinhole cameras as ``body15`` poses.

Joint positions follow from the hierarchy: a joint turns in the order of its channels and stands at
its offset, or at its position channels where it has some. Both known families of files are
right-handed, y up. They are recognised by the names of their joints:

* Bandai-Namco-Research-Motiondataset: centimetres; the rule of ``flexpose.io.mocap``.
* CMU, in two conversions that differ in names (``LeftHip, LeftKnee`` or ``LeftUpLeg, LeftLeg``):
  CMU's unit is 1/0.45 inch; its neck is the upper one of two neck joints and the head two thirds
  head joint and one third its end, as for the 38-joint subset of CMU.

The legs must come out 0.5 to 1.3 metres long, or the file is in another unit and refused. A folder
is read with all files below it. Clips are placed, seen and named as in ``flexpose.io.mocap``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import Format, check_positions, files_below, has_below, read_text
from flexpose.io.mocap import (
    BANDAI_RULE,
    Camera,
    JointRule,
    body15_joints,
    corner_cameras,
    joints_of,
    on_floor,
    project,
)
from flexpose.poseset import PoseSet

_FILES = "*.bvh"
_AXES = "XYZ"
_LEGS = (0.5, 1.3)  # metres from hip to ankle
_CMU_UNIT = 0.0254 / 0.45


@dataclass
class _Joint:
    """A joint of a hierarchy, as it stands in the file."""

    name: str
    parent: int
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    channels: list[str] = field(default_factory=list)


def is_bvh(path: Path) -> bool:
    """Whether the file begins as a BVH file, or the folder has one below it."""
    if path.is_dir():
        return has_below(path, _FILES)
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"HIERARCHY")
    except OSError:
        return False


def read_bvh(
    path: Path, *, image_root: Path | None = None, cameras: Sequence[Camera] | None = None
) -> PoseSet:
    """Read a clip, or all clips below a folder, and see them through cameras.

    Parameters
    ----------
    cameras : those of ``flexpose.io.mocap.corner_cameras`` by default

    Raises
    ------
    DataFormatError : a file is missing, damaged, of an unknown skeleton or in an unknown unit.
    """
    files = files_below(path, _FILES) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    clips, frames, tracks = [], [], []
    rigs: dict[str, None] = {}
    for file in files:
        joints, moving = read_bvh_3d(file)
        rig, track = _body15(file, joints, moving)
        rigs[rig] = None
        tracks.append(on_floor(track))
        clips += [file.relative_to(root).with_suffix("").as_posix()] * len(track)
        frames += list(range(len(track)))
    poses = project(np.concatenate(tracks), cameras or corner_cameras(), clips, frames)
    return poses.with_note(
        f"motion capture {path.name} ({', '.join(rigs)}); each clip centred on the floor"
    )


def read_bvh_3d(path: Path) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names of all joints (J), ends as "Head end", and their positions (T, J, 3) in file units.

    Raises
    ------
    DataFormatError : the file is missing or damaged.
    """
    from scipy.spatial.transform import Rotation  # slow to import, for this format only

    lines = read_text(path).splitlines()
    joints, line = _hierarchy(path, lines)
    motion = _motion(path, lines, line, sum(len(joint.channels) for joint in joints))
    turns: list[Rotation] = []
    places: list[NDArray[np.float64]] = []
    column = 0
    for joint in joints:
        values = motion[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        place = np.tile(joint.offset, (len(motion), 1))
        spins = [i for i, name in enumerate(joint.channels) if name.endswith("rotation")]
        for i, name in enumerate(joint.channels):
            if name.endswith("position"):
                place[:, _AXES.index(name[0])] = values[:, i]
        order = "".join(joint.channels[i][0] for i in spins)  # capitals: about turned axes
        turn = Rotation.identity(len(motion))
        if order:
            turn = Rotation.from_euler(order, values[:, spins], degrees=True)
        if joint.parent >= 0:
            place = places[joint.parent] + turns[joint.parent].apply(place)
            turn = turns[joint.parent] * turn
        turns.append(turn)
        places.append(place)
    positions = np.stack(places, axis=1)
    check_positions(path, "motion", positions)
    return tuple(joint.name for joint in joints), positions


def _hierarchy(path: Path, lines: Sequence[str]) -> tuple[list[_Joint], int]:
    """Joints in file order, parents first, and the number of lines read."""
    joints: list[_Joint] = []
    open_joints: list[int] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        where = f"line {number}"
        match words:
            case [] | ["HIERARCHY"] | ["{"]:
                pass
            case ["MOTION"] if joints and not open_joints:
                return joints, number
            case ["ROOT" | "JOINT", *name] if name and (open_joints or not joints):
                joints.append(_Joint(" ".join(name), open_joints[-1] if open_joints else -1))
                open_joints.append(len(joints) - 1)
            case ["End", "Site"] if open_joints:
                joints.append(_Joint(f"{joints[open_joints[-1]].name} end", open_joints[-1]))
                open_joints.append(len(joints) - 1)
            case ["OFFSET", x, y, z] if open_joints:
                joints[open_joints[-1]].offset = _numbers(path, where, [x, y, z])
            case ["CHANNELS", count, *names] if open_joints:
                joints[open_joints[-1]].channels = _channels(path, where, count, names)
            case ["}"] if open_joints:
                open_joints.pop()
            case _:
                raise DataFormatError(path, where, f"found {line.strip()[:40]!r} in the hierarchy")
    raise DataFormatError(path, f"line {len(lines)}", "the file ends before its motion")


def _channels(path: Path, where: str, count: str, names: list[str]) -> list[str]:
    """Channel names, as "Xposition" or "Zrotation", each at most once."""
    plain = [name[:1].upper() + name[1:].lower() for name in names]
    known = {axis + kind for axis in _AXES for kind in ("position", "rotation")}
    rotations = sum(name.endswith("rotation") for name in plain)
    if count != str(len(names)) or not set(plain) <= known or len(set(plain)) != len(plain):
        raise DataFormatError(path, where, "expected a number and as many names of channels")
    if rotations not in (0, 3):
        raise DataFormatError(path, where, f"found {rotations} rotations, expected three or none")
    return plain


def _numbers(path: Path, where: str, words: Sequence[str]) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in words)
    except ValueError as error:
        raise DataFormatError(path, where, f"no number ({error})") from error
    if not np.isfinite(found).all():
        raise DataFormatError(path, where, "found a number that is not finite")
    return found


def _motion(path: Path, lines: Sequence[str], start: int, width: int) -> NDArray[np.float64]:
    """The table of channel values (T, width) that follows the line "MOTION"."""
    head = [line.split() for line in lines[start : start + 2]]
    if len(head) < 2 or head[0][:1] != ["Frames:"] or head[1][:2] != ["Frame", "Time:"]:
        raise DataFormatError(path, f"line {start + 1}", "expected Frames: and Frame Time:")
    rows = []
    for number, line in enumerate(lines[start + 2 :], start=start + 3):
        words = line.split()
        if words and len(words) != width:
            raise DataFormatError(
                path, f"line {number}", f"{len(words)} values, expected {width}, one a channel"
            )
        if words:
            rows.append(_numbers(path, f"line {number}", words))
    if head[0][1:] != [str(len(rows))] or not rows:
        said = " ".join(head[0][1:])
        raise DataFormatError(
            path, f"line {start + 1}", f"says {said!r} frames and has {len(rows)}"
        )
    return np.array(rows).reshape(-1, width)


def _body15(
    path: Path, joints: Sequence[str], moving: NDArray[np.float64]
) -> tuple[str, NDArray[np.float64]]:
    """Name of the rig, and joints of body15 in metres (T, 15, 3)."""
    for rig, (rule, metres) in _RIGS.items():
        if joints_of(rule) <= set(joints):
            track = body15_joints(moving * metres, joints, rule)
            hip, knee, ankle = track[0, 6:9]
            leg = float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))
            if not _LEGS[0] <= leg <= _LEGS[1]:
                raise DataFormatError(
                    path,
                    "hierarchy",
                    f"the legs are {leg:.3g} m long, so the unit is not that of {rig}",
                )
            return rig, track
    shown = ", ".join([name for name in joints if not name.endswith(" end")][:12])
    raise DataFormatError(
        path,
        "hierarchy",
        f"found the joints {shown}, ...; expected those of {' or '.join(_RIGS)}.",
        "Rename the joints, or convert the positions to .npz; see docs/data-formats.md.",
    )


def _cmu(neck: str, arm: Mapping[str, str], leg: Mapping[str, str]) -> JointRule:
    """CMU's rule for names of limbs after "Left" and "Right"."""
    return {
        "neck": {neck: 1},
        "head": {"Head": 2 / 3, "Head end": 1 / 3},
        "pelvis": {f"{side}{leg['hip']}": 0.5 for side in ("Left", "Right")},
        **{
            f"{side.lower()}_{joint}": {f"{side}{name}": 1}
            for side in ("Left", "Right")
            for joint, name in {**arm, **leg}.items()
        },
    }


_RIGS: dict[str, tuple[JointRule, float]] = {  # and metres a unit
    "Bandai-Namco": (BANDAI_RULE, 0.01),
    "CMU": (
        _cmu(
            "Neck",
            {"shoulder": "Shoulder", "elbow": "Elbow", "wrist": "Wrist"},
            {"hip": "Hip", "knee": "Knee", "ankle": "Ankle"},
        ),
        _CMU_UNIT,
    ),
    "CMU for MotionBuilder": (
        _cmu(
            "Neck1",
            {"shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"},
            {"hip": "UpLeg", "knee": "Leg", "ankle": "Foot"},
        ),
        _CMU_UNIT,
    ),
}

FORMAT = Format(
    name="bvh",
    summary="Motion capture of Bandai-Namco and CMU as .bvh, seen by four cameras",
    sniff=is_bvh,
    read=read_bvh,
    folder=".bvh files",
)
