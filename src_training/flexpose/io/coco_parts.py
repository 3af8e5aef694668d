"""COCO keypoints: what the reader makes of categories and annotations; see ``coco_read``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.coco import SOURCES, CocoAnnotation, Notes
from flexpose.skeleton import Skeleton, load_skeleton, skeleton_names

_LARGEST = float(np.finfo(np.float32).max)

Entry = Mapping[str, Any]
Placed = list[tuple[str, Entry]]
"""Entries of a file, each with its place for messages."""


@dataclass(frozen=True)
class ReadFile:
    """What the steps of reading share: the file, for messages, and the list of repairs."""

    path: Path
    notes: Notes

    def refuse(self, where: str, problem: str) -> DataFormatError:
        """Error to raise about a place in the file."""
        return DataFormatError(self.path, where, problem)

    def entries(self, document: Entry, key: str) -> list[Entry]:
        """One of the lists of the document, whose entries are JSON objects."""
        value = document.get(key)
        if not isinstance(value, list):
            raise self.refuse(key, "is missing or no list; expected COCO keypoints")
        if not all(isinstance(entry, dict) for entry in value):
            raise self.refuse(key, "found an entry that is no JSON object")
        return value

    def ids(self, ids: list[Any], kind: str) -> list[int]:
        """Ids as they are when all are whole numbers from 1, otherwise new ones in file order."""
        if any(isinstance(number, (list, dict)) for number in ids):
            raise self.refuse(f"{kind}s", "found an id that is no number")
        seen = set()
        for number in ids:
            if number is not None and number in seen:
                raise self.refuse(f"{kind} {number}", f"found this {kind} id twice")
            seen.add(number)
        if all(type(number) is int and number > 0 for number in ids):
            return ids
        self.notes.add(f"{kind} ids are not whole numbers from 1; numbered anew", "the file")
        return list(range(1, len(ids) + 1))


def is_side(value: Any) -> TypeGuard[float]:
    """Whether a JSON value can be the width or height of an image: whole, from 1."""
    return is_finite(value) and 1 <= value < 2**31 and value == int(value)


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a number that float32 can hold."""
    return type(value) in (int, float) and bool(abs(value) <= _LARGEST)


def is_score(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a number from 0 to 1."""
    return is_finite(value) and 0 <= value <= 1


def mapping(value: Any) -> Entry:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def ours(entry: Entry) -> Entry:
    """Entries under ``flexpose``."""
    return mapping(entry.get("flexpose"))


# ---------------------------------------------------------------- category

_OUR_SKELETON_KEYS = (
    "name",
    "symmetric_pairs",
    "root",
    "edge_colors",
    "oks_sigmas",
    "derived",
    "neutral_pose",
    "description",
)


def choose_category(file: ReadFile, document: Entry, wanted: str | None) -> Entry:
    """Find the category that ``wanted`` names, or the only one with keypoints."""
    entries = file.entries(document, "categories")
    if wanted is not None:
        fitting = [entry for entry in entries if entry.get("name") == wanted]
    else:
        used = {str(entry.get("category_id")) for entry in file.entries(document, "annotations")}
        fitting = [entry for entry in entries if entry.get("keypoints")] or entries
        if len(fitting) > 1:
            fitting = [entry for entry in fitting if str(entry.get("id")) in used]
    if len(fitting) != 1:
        names = ", ".join(repr(entry.get("name")) for entry in entries)
        problem = f"found {len(fitting)} fitting categories with keypoints, expected one."
        raise DataFormatError(
            file.path, "categories", problem, f"Name the category; the file has: {names}."
        )
    return fitting[0]


def annotations_of(file: ReadFile, document: Entry, chosen: Entry) -> Placed:
    """Annotations of the category, each with its place for messages."""
    known = [entry.get("id") for entry in document["categories"]]
    entries = file.entries(document, "annotations")
    found = []
    for position, entry in enumerate(entries):
        number = entry.get("id", f"at position {position + 1}")
        place = f"image {entry.get('image_id')!r}, annotation {number}"
        if "category_id" not in entry and len(known) == 1:
            file.notes.add("no category_id; taken for the only category", place)
        elif entry.get("category_id") not in known:
            raise file.refuse(place, f"unknown category_id {entry.get('category_id')!r}")
        elif entry["category_id"] != chosen.get("id"):
            file.notes.add("of another category; left out", place)
            continue
        found.append((place, entry))
    if chosen.get("id") != 1:
        file.notes.add("category id changed to 1", f"category {chosen.get('name')!r}")
    return found


def read_skeleton(file: ReadFile, chosen: Entry, found: Placed) -> tuple[Skeleton, dict[str, Any]]:
    """Skeleton of the category, and the category's unknown fields."""
    name = str(chosen.get("name") or "object")
    where = f"category {name!r}"
    joints = chosen.get("keypoints")
    if not joints:
        values = found[0][1].get("keypoints") if found else None
        count = len(values) // 3 if isinstance(values, list) else 0
        joints = [f"joint_{number + 1}" for number in range(count)]
        file.notes.add("no joint names; joints are called joint_1, joint_2, ...", where)
    if not isinstance(joints, list) or not all(isinstance(joint, str) for joint in joints):
        raise file.refuse(where, "keypoints must be a list of joint names")
    if len(set(joints)) != len(joints):
        raise file.refuse(where, "two joints have the same name")
    edges = _read_edges(file, where, chosen.get("skeleton"), len(joints))
    own = ours(chosen)
    extra = {key: own[key] for key in own if key not in _OUR_SKELETON_KEYS}
    fields = {
        key: value
        for key, value in chosen.items()
        if key not in ("id", "name", "supercategory", "keypoints", "skeleton", "flexpose")
    }
    if chosen.get("supercategory", name) != name:
        fields["supercategory"] = chosen["supercategory"]
    if extra:
        fields["flexpose"] = extra
    try:
        if "name" in own:
            named = [[joints[a], joints[b]] for a, b in edges]
            known = {key: own[key] for key in _OUR_SKELETON_KEYS if key in own}
            data = {**known, "category": name, "joints": joints, "edges": named}
            return Skeleton.from_dict(data, file.path), fields
        return _foreign_skeleton(file, name, tuple(joints), edges), fields
    except DataFormatError as error:
        raise file.refuse(where, error.problem) from error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise file.refuse(where, f"its flexpose entry is no skeleton ({error})") from error


def _read_edges(file: ReadFile, where: str, value: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Edges as pairs of indices from 0."""
    if value is None:
        file.notes.add("no edges (the key 'skeleton' is missing)", where)
        return ()
    pairs = value if isinstance(value, list) else [value]
    for pair in pairs:
        two = isinstance(pair, list) and len(pair) == 2
        if not two or not all(type(joint) is int and 0 <= joint <= count for joint in pair):
            raise file.refuse(
                where, f"edge {pair!r} is not a pair of joint numbers from 1 to {count}"
            )
    start = 1
    if any(0 in pair for pair in pairs):
        start = 0
        file.notes.add("edges count from 0; read so", where)
        if any(count in pair for pair in pairs):
            raise file.refuse(where, f"edges name the joints 0 and {count} of {count}")
    return tuple((a - start, b - start) for a, b in pairs)


def _foreign_skeleton(
    file: ReadFile, name: str, joints: tuple[str, ...], edges: tuple[tuple[int, int], ...]
) -> Skeleton:
    """Shipped skeleton of these joints, or one made from names and edges."""
    for shipped in map(load_skeleton, skeleton_names()):
        if shipped.joints == joints:
            if {frozenset(e) for e in edges} != {frozenset(e) for e in shipped.edges}:
                file.notes.add(f"edges replaced by those of {shipped.name}", f"category {name!r}")
            return replace(shipped, category=name)
    at = {joint: index for index, joint in enumerate(joints)}
    pairs = tuple(
        (index, at["right_" + joint.removeprefix("left_")])
        for joint, index in at.items()
        if joint.startswith("left_") and "right_" + joint.removeprefix("left_") in at
    )
    return Skeleton(name=name, category=name, joints=joints, edges=edges, symmetric_pairs=pairs)


# ---------------------------------------------------------------- annotations


def read_keypoints(
    file: ReadFile, found: Placed, skeleton: Skeleton
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Keypoints (N, J, 2), NaN where not labelled, and visibility (N, J)."""
    rows = []
    for place, entry in found:
        values = entry.get("keypoints")
        if not isinstance(values, list) or len(values) != 3 * skeleton.num_joints:
            have = len(values) if isinstance(values, list) else "no"
            want = f"{3 * skeleton.num_joints} ({skeleton.num_joints} joints, x, y and v)"
            raise file.refuse(place, f"found {have} keypoint values, expected {want}")
        if not all(type(value) in (int, float) or value is None for value in values):
            raise file.refuse(place, "found a keypoint value that is no number")
        rows.append(values)
    table = np.array(rows, dtype=np.float64).reshape(len(rows), skeleton.num_joints, 3)
    table[np.abs(table) > _LARGEST] = np.nan
    points, flags = table[..., :2], np.nan_to_num(table[..., 2])

    def note(sentence: str, cases: NDArray[np.bool_]) -> None:
        for row, joint in np.argwhere(cases):
            file.notes.add(sentence, f"{found[row][0]}, {skeleton.joints[joint]}")

    wrong = ~np.isin(flags, (0, 1, 2))
    if wrong.any():
        row, joint = np.argwhere(wrong)[0]
        raise file.refuse(
            f"{found[row][0]}, {skeleton.joints[joint]}",
            f"found the visibility {flags[row, joint]:g}, expected 0, 1 or 2",
        )
    bad = np.asarray(~np.isfinite(table).all(axis=2))
    note("a position or visibility that is no finite number; read as not labelled", bad)
    note(
        "a position although v is 0; dropped",
        np.asarray((flags == 0) & ~bad & (points != 0).any(axis=2)),
    )
    visibility = np.where(bad, 0, flags).astype(np.int8)
    for (place, _), row in zip(found, rows, strict=True):
        if any(type(flag) is float for flag in row[2::3]):
            file.notes.add("visibility written with a decimal point", place)
    return np.where((visibility > 0)[..., None], points, np.nan), visibility


def read_boxes(file: ReadFile, found: Placed) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Boxes (N, 4), and which of them are usable."""
    boxes = np.zeros((len(found), 4))
    usable = np.zeros(len(found), dtype=bool)
    for row, (place, entry) in enumerate(found):
        box = entry.get("bbox")
        four = isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))
        if box is not None and four and box[2] > 0 and box[3] > 0:
            boxes[row], usable[row] = box, True
        else:
            file.notes.add("no bbox with an area; made from the joints", place)
    return boxes, usable


def read_confidence(
    file: ReadFile, found: Placed, visibility: NDArray[np.int8]
) -> NDArray[np.float32] | None:
    """Confidence (N, J): ``keypoint_scores``, or ``score`` for every labelled joint of a pose.

    None where a pose has neither, or has scores that are no numbers from 0 to 1, one a joint.
    """
    rows: list[list[float]] = []
    for (place, entry), flags in zip(found, visibility, strict=True):
        scores = entry.get("keypoint_scores")
        if scores is None and is_score(entry.get("score")):
            scores = [entry["score"]] * len(flags)
        if isinstance(scores, list) and len(scores) == len(flags) and all(map(is_score, scores)):
            rows.append(scores)
            if "keypoint_scores" in entry and any(np.array(scores)[flags == 0]):
                file.notes.add("a score although v is 0; dropped", place)
        elif scores is not None or entry.get("score") is not None:
            file.notes.add("scores that are not from 0 to 1, one a joint; not used", place)
    if not rows or len(rows) < len(found):
        return None
    return np.where(visibility > 0, np.array(rows, dtype=np.float32), np.float32(0))


def read_annotation(
    file: ReadFile,
    place: str,
    entry: Entry,
    number: int,
    *,
    boxed: bool,
    grouped: bool,
    scored: bool,
) -> CocoAnnotation:
    """Read what an annotation says beside its joints and box.

    Parameters
    ----------
    number : its id
    boxed : whether its box is usable; else its area is not kept either
    grouped, scored : whether its group and the scores of its joints are kept by the poses
    """
    fields = {key: value for key, value in entry.items() if key not in _ANNOTATION_KEYS}
    for key, usual in (("iscrowd", 0), ("segmentation", [])):
        if key not in entry:
            file.notes.add(f"{key} is missing", place)
        elif entry[key] != usual:
            fields[key] = entry[key]
    if not scored and "keypoint_scores" in entry:
        fields["keypoint_scores"] = entry["keypoint_scores"]
    area = entry.get("area")
    if not is_finite(area) or area <= 0:
        file.notes.add("no positive area; that of the box", place)
    elif boxed and area != round(entry["bbox"][2] * entry["bbox"][3], 2):
        fields["area"] = area
    labelled = sum(1 for flag in entry["keypoints"][2::3] if flag)
    if entry.get("num_keypoints") != labelled:
        file.notes.add("num_keypoints is missing or wrong; counted", place)
    score = entry.get("score")
    if score is not None and not is_finite(score):
        raise file.refuse(place, f"found the score {score!r}, expected a number")
    known, rest = _provenance(ours(entry), grouped)
    if rest:
        fields["flexpose"] = rest
    return CocoAnnotation(id=number, score=score, fields=fields, **known)


def _provenance(own: Entry, grouped: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of ``CocoAnnotation`` under ``flexpose``, and what else stands there."""
    rest = dict(own)
    known: dict[str, Any] = {"source": None}
    if rest.get("source") in SOURCES and isinstance(rest.get("reviewed"), bool):
        known = {"source": rest.pop("source"), "reviewed": rest.pop("reviewed")}
    for key, kind in (("model", str), ("seed", int)):
        if type(rest.get(key)) is kind:
            known[key] = rest.pop(key)
    if grouped:
        rest.pop("group", None)
    return known, rest


_ANNOTATION_KEYS = frozenset(
    (
        "id",
        "image_id",
        "category_id",
        "keypoints",
        "num_keypoints",
        "bbox",
        "area",
        "iscrowd",
        "segmentation",
        "score",
        "keypoint_scores",
        "flexpose",
    )
)
