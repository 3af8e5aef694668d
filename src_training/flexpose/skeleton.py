"""Skeletons: named joints, how they connect, and which joints of others stand in for them."""

from __future__ import annotations

import colorsys
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from flexpose.errors import DataFormatError, UnknownNameError

Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Named joints and how they connect; joints go by name everywhere but in arrays.

    Attributes
    ----------
    name : short name, such as ``body15``
    joints : joint names in the order of axis 1 of ``PoseSet.keypoints``
    edges : pairs of 0-based joint indices, parent first (COCO files count from 1; only the
        COCO writer adds that)
    symmetric_pairs : (left, right) pairs of joint indices
    root : index of the joint at which the kinematic tree starts
    edge_colors : one RGB colour (0-255) an edge, all different
    oks_sigmas : COCO's per-joint constants; empty when object keypoint similarity is not defined
    derived : for a joint that another skeleton lacks under this name, the joints whose mean
        stands in for it, best alternative first
    neutral_pose : (x, y) of each joint in any unit, y down, for thumbnails and to start a label
        from; empty when there is none
    category : COCO category name
    description : where the definition comes from
    """

    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    symmetric_pairs: tuple[tuple[int, int], ...] = ()
    root: int = 0
    edge_colors: tuple[tuple[int, int, int], ...] = ()
    oks_sigmas: tuple[float, ...] = ()
    derived: Mapping[str, Alternatives] = field(default_factory=dict)
    neutral_pose: tuple[tuple[float, float], ...] = ()
    category: str = "person"
    description: str = ""

    def __post_init__(self) -> None:
        problem = _first_problem(self)
        if problem:
            raise DataFormatError(f"skeleton {self.name!r}", "", problem)
        if not self.edge_colors:
            object.__setattr__(self, "edge_colors", distinct_colors(len(self.edges)))

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @cached_property
    def flip_index(self) -> tuple[int, ...]:
        """Permutation of the joints that exchanges left and right; its own inverse."""
        order = list(range(self.num_joints))
        for left, right in self.symmetric_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    @cached_property
    def edge_sides(self) -> tuple[Literal["left", "right", "middle"], ...]:
        """The side of each edge; one between the sides, or on neither, is in the middle."""
        lefts = {left for left, _ in self.symmetric_pairs}
        rights = {right for _, right in self.symmetric_pairs}
        sides: list[Literal["left", "right", "middle"]] = []
        for edge in self.edges:
            left, right = bool(lefts & set(edge)), bool(rights & set(edge))
            sides.append("middle" if left == right else "left" if left else "right")
        return tuple(sides)

    @cached_property
    def contours(self) -> tuple[tuple[int, ...], ...]:
        """Chains of joints along edges, in the order of their first edges.

        A chain begins and ends at joints that have one edge, or more than two. One that comes back
        to where it began is closed: its first joint stands at its end again. Each edge belongs to
        one chain; joints without edges to none.
        """
        at: dict[int, list[int]] = {}
        for number, edge in enumerate(self.edges):
            for joint in edge:
                at.setdefault(joint, []).append(number)
        left = set(range(len(self.edges)))
        ends = [joint for joint, numbers in at.items() if len(numbers) != 2]
        chains = {}
        for start in (*ends, *at):  # what no end reaches is closed
            for first in at[start]:
                if first in left:
                    chains[first] = self._chain(start, first, at, left)
        return tuple(chains[number] for number in sorted(chains))

    def _chain(
        self, start: int, number: int, at: Mapping[int, Sequence[int]], left: set[int]
    ) -> tuple[int, ...]:
        """Joints from ``start`` along an edge to where the chain ends; takes its edges away."""
        chain, onward = [start], [number]
        while onward:
            left.remove(onward[0])
            a, b = self.edges[onward[0]]
            joint = b if chain[-1] == a else a
            chain.append(joint)
            onward = [n for n in at[joint] if n in left] if len(at[joint]) == 2 else []
        return tuple(chain)

    def index(self, joint: str) -> int:
        """Array index of a joint, by name."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise UnknownNameError(f"joint of {self.name}", joint, self.joints) from None

    def same_layout(self, other: Skeleton) -> bool:
        """Whether arrays of the two skeletons mean the same: equal joint names in equal order."""
        return self.joints == other.joints

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the form of the YAML files: joints by name."""
        data: dict[str, Any] = {
            "name": self.name,
            "category": self.category,
            "joints": list(self.joints),
            "edges": [[self.joints[a], self.joints[b]] for a, b in self.edges],
            "symmetric_pairs": [[self.joints[a], self.joints[b]] for a, b in self.symmetric_pairs],
            "root": self.joints[self.root],
            "edge_colors": [list(color) for color in self.edge_colors],
        }
        if self.oks_sigmas:
            data["oks_sigmas"] = list(self.oks_sigmas)
        if self.derived:
            data["derived"] = {k: [list(a) for a in v] for k, v in self.derived.items()}
        if self.neutral_pose:
            data["neutral_pose"] = [[float(x), float(y)] for x, y in self.neutral_pose]
        if self.description:
            data["description"] = self.description
        return data

    @staticmethod
    def from_dict(data: Mapping[str, Any], where: Path | str = "skeleton") -> Skeleton:
        """Build from the YAML form.

        Raises
        ------
        DataFormatError : a key is missing or unknown, or an edge names an unknown joint.
        """
        if not isinstance(data, Mapping):
            raise DataFormatError(where, "", f"found {type(data).__name__}, expected a mapping")
        unknown = set(data) - _KEYS
        if unknown:
            raise DataFormatError(where, "", f"unknown key {min(unknown, key=str)!r}")
        for key in ("name", "joints", "edges"):
            if key not in data:
                raise DataFormatError(where, "", f"the key {key!r} is missing")
        joints = tuple(str(joint) for joint in _listed(data, "joints", where))
        at = {joint: i for i, joint in enumerate(joints)}
        root = str(data.get("root", joints[0] if joints else ""))
        if joints and root not in at:
            raise DataFormatError(where, "root", f"{root!r} is not a joint of this skeleton")
        return Skeleton(
            name=str(data["name"]),
            joints=joints,
            edges=_pairs(data, "edges", at, where),
            symmetric_pairs=_pairs(data, "symmetric_pairs", at, where),
            root=at.get(root, 0),
            edge_colors=tuple(_color(c, where) for c in _listed(data, "edge_colors", where)),
            oks_sigmas=tuple(_sigma(s, where) for s in _listed(data, "oks_sigmas", where)),
            derived=_derived(data, where),
            neutral_pose=tuple(_point(p, where) for p in _listed(data, "neutral_pose", where)),
            category=str(data.get("category", "person")),
            description=str(data.get("description", "")).strip(),
        )


def _listed(data: Mapping[str, Any], key: str, where: Path | str) -> list[Any]:
    found = data.get(key) or []
    if not isinstance(found, (list, tuple)):
        raise DataFormatError(where, key, f"found {found!r}, expected a list")
    return list(found)


def _pairs(
    data: Mapping[str, Any], key: str, at: Mapping[str, int], where: Path | str
) -> tuple[tuple[int, int], ...]:
    found = []
    for pair in _listed(data, key, where):
        names = [str(name) for name in pair] if isinstance(pair, (list, tuple)) else []
        if len(names) != 2 or not set(names) <= set(at):
            raise DataFormatError(where, key, f"{pair!r} is not a pair of joints of this skeleton")
        found.append((at[names[0]], at[names[1]]))
    return tuple(found)


def _color(value: Any, where: Path | str) -> tuple[int, int, int]:
    is_triple = isinstance(value, (list, tuple)) and len(value) == 3
    if not (is_triple and all(type(v) is int and 0 <= v <= 255 for v in value)):
        raise DataFormatError(
            where, "edge_colors", f"{value!r} is not a colour of three whole numbers from 0 to 255"
        )
    return (value[0], value[1], value[2])


def _sigma(value: Any, where: Path | str) -> float:
    if not isinstance(value, (int, float)) or not value > 0:
        raise DataFormatError(where, "oks_sigmas", f"{value!r} is not a positive number")
    return float(value)


def _point(value: Any, where: Path | str) -> tuple[float, float]:
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    if not (is_pair and all(type(v) in (int, float) and _is_finite(v) for v in value)):
        raise DataFormatError(where, "neutral_pose", f"{value!r} is not a pair of finite numbers")
    return (float(value[0]), float(value[1]))


def _is_finite(value: float) -> bool:
    return abs(value) <= sys.float_info.max  # whole numbers of any size too


def _derived(data: Mapping[str, Any], where: Path | str) -> dict[str, Alternatives]:
    found = data.get("derived") or {}
    if not isinstance(found, Mapping):
        raise DataFormatError(where, "derived", f"found {found!r}, expected a mapping")
    rules = {}
    for joint in found:
        alternatives = _listed(found, joint, where)
        if not all(isinstance(a, (list, tuple)) and a for a in alternatives):
            raise DataFormatError(
                where, "derived", f"the rule of {joint} is not a list of lists of joints"
            )
        rules[str(joint)] = tuple(tuple(str(name) for name in a) for a in alternatives)
    return rules


_KEYS = {
    "name",
    "category",
    "description",
    "joints",
    "edges",
    "symmetric_pairs",
    "root",
    "edge_colors",
    "oks_sigmas",
    "derived",
    "neutral_pose",
}


def _first_problem(skeleton: Skeleton) -> str:
    """What is wrong with a skeleton, in words, or an empty string."""
    n = skeleton.num_joints
    if n == 0:
        return "it has no joints"
    if len(set(skeleton.joints)) != n:
        return "two joints have the same name"
    for name, pairs in (("edge", skeleton.edges), ("symmetric pair", skeleton.symmetric_pairs)):
        for a, b in pairs:
            if not (0 <= a < n and 0 <= b < n) or a == b:
                return f"{name} ({a}, {b}) does not join two of its {n} joints"
    paired = [joint for pair in skeleton.symmetric_pairs for joint in pair]
    if len(set(paired)) != len(paired):
        return "a joint stands in two symmetric pairs"
    return _problem_of_lists(skeleton)


def _problem_of_lists(skeleton: Skeleton) -> str:
    """What is wrong with colours, sigmas, the root or the neutral pose."""
    n = skeleton.num_joints
    if skeleton.edge_colors and len(skeleton.edge_colors) != len(skeleton.edges):
        return f"{len(skeleton.edge_colors)} edge colours for {len(skeleton.edges)} edges"
    if len(set(skeleton.edge_colors)) != len(skeleton.edge_colors):
        return "two edges have the same colour"
    if skeleton.oks_sigmas and len(skeleton.oks_sigmas) != n:
        return f"{len(skeleton.oks_sigmas)} OKS sigmas for {n} joints"
    if not 0 <= skeleton.root < n:
        return f"the root index {skeleton.root} is not one of its {n} joints"
    return _problem_of_pose(skeleton.neutral_pose, n)


def _problem_of_pose(pose: Sequence[tuple[float, float]], n: int) -> str:
    """What is wrong with a neutral pose of ``n`` joints."""
    if not pose:
        return ""
    if len(pose) != n:
        return f"a neutral pose of {len(pose)} points for {n} joints"
    if not all(_is_finite(x) and _is_finite(y) for x, y in pose):
        return "the neutral pose has a position that is not finite"
    if n > 1 and len(set(pose)) == 1:
        return "all joints of the neutral pose are in one point"
    return ""


def distinct_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """``count`` different saturated RGB colours (0-255), evenly spaced in hue."""
    return tuple(
        (round(255 * r), round(255 * g), round(255 * b))
        for r, g, b in (
            # three brightness levels keep long lists of hues apart
            colorsys.hsv_to_rgb(i / max(count, 1), 1.0, (1.0, 0.85, 0.7)[i % 3])
            for i in range(count)
        )
    )


_LEFT = re.compile(r"[Ll]eft|LEFT|^[lL]|(?<=[_\-. ])[lL](?=[_\-. ]|$)|(?<=[a-z0-9])L$")
_RIGHT = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}


def proposed_pairs(joints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Symmetric pairs (left, right) of joint indices, as the names suggest.

    Two joints are a pair when their names differ in one side only: left and right anywhere, or l
    and r in front, at the end or between separators, as in ``left_eye``, ``L_Eye``, ``eyeL``.
    """
    at = {joint: index for index, joint in enumerate(joints)}
    pairs: list[tuple[int, int]] = []
    for left, joint in enumerate(joints):
        others = (
            joint[: side.start()] + _RIGHT[side.group()] + joint[side.end() :]
            for side in _LEFT.finditer(joint)
        )
        taken = {index for pair in pairs for index in pair}
        right = next((at[name] for name in others if name in at), None)
        if right is not None and not {left, right} & taken:
            pairs.append((left, right))
    return tuple(pairs)


def skeleton_names() -> tuple[str, ...]:
    """Names of the skeletons that come with the package."""
    folder = resources.files("flexpose") / "skeletons"
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in folder.iterdir()
            if entry.name.endswith(".yaml")
        )
    )


_SUFFIXES = (".yaml", ".yml")


def load_skeleton(name: str | Path) -> Skeleton:
    """Read a skeleton by the name of a shipped one or from a YAML file of the user's own.

    Raises
    ------
    UnknownNameError : no shipped skeleton has this name.
    DataFormatError : the file is no valid skeleton.
    """
    text_name = str(name)
    if text_name.endswith(_SUFFIXES):
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise DataFormatError(path, "", f"cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise DataFormatError(path, "", "is not a text file in UTF-8") from error
        return _parse(text, path)
    if text_name not in skeleton_names():
        raise UnknownNameError("skeleton", text_name, skeleton_names())
    source = resources.files("flexpose") / "skeletons" / f"{text_name}.yaml"
    return _parse(source.read_text(encoding="utf-8"), f"skeletons/{text_name}.yaml")


def save_skeleton(skeleton: Skeleton, path: Path | str) -> None:
    """Write a YAML file that `load_skeleton` reads back as the same skeleton.

    Raises
    ------
    DataFormatError : the name does not end in .yaml or .yml, or the file cannot be written.
    """
    if not str(path).endswith(_SUFFIXES):
        raise DataFormatError(path, "", "expected a name that ends in .yaml or .yml")
    text = yaml.safe_dump(
        skeleton.to_dict(), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataFormatError(
            path, "", f"cannot be written ({error.strerror})", "What was there before is unchanged."
        ) from error


def _parse(text: str, where: Path | str) -> Skeleton:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f"line {mark.line + 1}"
        problem = getattr(error, "problem", None) or "unreadable characters"
        raise DataFormatError(where, place, f"is not valid YAML ({problem})") from error
    return Skeleton.from_dict(data, where)


def bone_tree(skeleton: Skeleton) -> list[tuple[int, int]]:
    """(parent, child) bones reached from the root, breadth first; one tree a connected part.

    Edges that would close a cycle are left out; parts without the root start at their first joint.
    """
    neighbours: dict[int, list[int]] = {i: [] for i in range(skeleton.num_joints)}
    for a, b in skeleton.edges:
        neighbours[a].append(b)
        neighbours[b].append(a)
    seen: set[int] = set()
    bones = []
    for start in (skeleton.root, *range(skeleton.num_joints)):
        if start in seen:
            continue
        seen.add(start)
        queue = [start]
        while queue:
            parent = queue.pop(0)
            for child in neighbours[parent]:
                if child not in seen:
                    seen.add(child)
                    bones.append((parent, child))
                    queue.append(child)
    return bones
