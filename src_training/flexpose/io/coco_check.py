"""Findings about a COCO keypoints file, judged by the rules that ``coco`` writes by.

Clients accept many wrong files in silence, so nothing here relies on them; ``coco_clients`` asks
them as well. An *error* is what some client refuses, loses or scores wrongly; a *warning* is what
all read but the format does not mean.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from flexpose.errors import DataFormatError
from flexpose.io.base import image_size, read_text
from flexpose.io.coco import SOURCES
from flexpose.io.coco_parts import Entry, is_finite, is_score, is_side, mapping, ours

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong in a file.

    Attributes
    ----------
    code : short name of the rule, such as ``bbox-empty``
    image, annotation, joint : where; empty for the whole file
    message : what was found
    remedy : what to do
    """

    code: str
    severity: Severity
    message: str
    remedy: str
    image: str = ""
    annotation: str = ""
    joint: str = ""


def check_coco(source: Path | str | Mapping[str, Any], images: Path | None = None) -> list[Finding]:
    """Check a file, or a document, against every rule of the format.

    Parameters
    ----------
    images : folder of the images; given, their presence and sizes are checked too

    Raises
    ------
    DataFormatError : the file cannot be read or is no JSON object.
    """
    if isinstance(source, Mapping):
        document: Entry = source
    else:
        path = Path(source)
        try:
            document = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            raise DataFormatError(path, "", f"is not valid JSON ({error})") from error
        if not isinstance(document, dict):
            raise DataFormatError(path, "", "expected a COCO document (a JSON object)")
    lists = {}
    findings = []
    for key in ("images", "annotations", "categories"):
        value = document.get(key)
        if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
            lists[key] = value
        else:
            lists[key] = []
            findings.append(_error("missing", f"no list {key!r} of objects", f"add {key!r}"))
    findings += _check_head(document)
    joints, category_findings = _check_categories(lists["categories"])
    findings += category_findings
    findings += _check_images(lists["images"], images)
    findings += _check_annotations(lists, joints)
    return findings


def _error(code: str, message: str, remedy: str, **where: Any) -> Finding:
    places = {key: str(value) for key, value in where.items()}
    return Finding(code=code, severity="error", message=message, remedy=remedy, **places)


def _warning(code: str, message: str, remedy: str, **where: Any) -> Finding:
    places = {key: str(value) for key, value in where.items()}
    return Finding(code=code, severity="warning", message=message, remedy=remedy, **places)


def _check_head(document: Entry) -> Iterator[Finding]:
    for key in ("info", "licenses"):
        if key not in document:
            yield _warning(f"{key}-missing", f"no {key!r}", "state origin and licence of the data")


def _check_ids(kind: str, entries: list[Entry]) -> Iterator[Finding]:
    """Ids are whole numbers from 1, each used once."""
    counts = Counter(repr(entry.get("id")) for entry in entries)
    for entry in entries:
        number = entry.get("id")
        place = {kind: entry.get("file_name", number) if kind == "image" else number}
        remedy = "number from 1, each number once"
        if number is None:
            yield _error(f"{kind}-id-missing", f"an {kind} without id", remedy)
        elif not (type(number) is int and number > 0):
            yield _error(
                f"{kind}-id", f"the id {number!r} is no whole number from 1", remedy, **place
            )
        elif counts[repr(number)] > 1:
            yield _error(f"{kind}-id-twice", f"the id {number} is used twice", remedy, **place)


# ---------------------------------------------------------------- categories


def _check_categories(entries: list[Entry]) -> tuple[list[str], list[Finding]]:
    """Joint names of the first category with keypoints, and findings."""
    found: list[Finding] = []
    named = [entry for entry in entries if entry.get("keypoints")]
    if len(entries) != 1:
        message = f"{len(entries)} categories, {len(named)} of them with keypoints"
        found.append(_error("category-count", message, "keep exactly one category, the skeleton"))
    for entry in entries:
        name = entry.get("name")
        if not isinstance(name, str) or not isinstance(entry.get("supercategory"), str):
            found.append(
                _warning("category-name", "a category without name or supercategory", "add both")
            )
        if entry.get("id") != 1 or type(entry.get("id")) is not int:
            found.append(
                _warning(
                    "category-id",
                    f"the category {name!r} has the id {entry.get('id')!r}",
                    "give it 1: YOLO converters subtract 1 to get the class",
                )
            )
        found += _check_skeleton(entry)
    joints = named[0]["keypoints"] if named and isinstance(named[0]["keypoints"], list) else []
    return [str(joint) for joint in joints], found


def _check_skeleton(entry: Entry) -> Iterator[Finding]:
    joints, edges = entry.get("keypoints"), entry.get("skeleton")
    name = entry.get("name")
    if not isinstance(joints, list) or not joints:
        yield _error("joints-missing", f"the category {name!r} names no joints", "add 'keypoints'")
        return
    for joint, count in Counter(map(str, joints)).items():
        if count > 1:
            yield _error(
                "joint-twice", f"{count} joints are called {joint!r}", "rename", joint=joint
            )
    if not isinstance(edges, list):
        remedy = "add 'skeleton', a list of pairs that may be empty"
        yield _error("edges-missing", f"the category {name!r} has no edges", remedy)
        return
    for edge in edges:
        two = (
            isinstance(edge, list) and len(edge) == 2 and all(type(joint) is int for joint in edge)
        )
        if not two or edge[0] == edge[1] or not all(0 <= joint <= len(joints) for joint in edge):
            message = f"the edge {edge!r} does not join two of {len(joints)} joints"
            yield _error("edge", message, f"use joint numbers from 1 to {len(joints)}")
        elif 0 in edge:
            yield _error(
                "edge-from-0", f"the edge {edge} counts joints from 0", "add 1 to all edges"
            )


# ---------------------------------------------------------------- images


def _check_images(entries: list[Entry], folder: Path | None) -> Iterator[Finding]:
    yield from _check_ids("image", entries)
    names = [str(entry.get("file_name")) for entry in entries]
    doubles = Counter(names)
    stems = Counter(str(PurePosixPath(name).with_suffix("")) for name in doubles if name)
    for entry, name in zip(entries, names, strict=True):
        if not isinstance(entry.get("file_name"), str) or not name:
            yield _error(
                "file-name-missing", f"image {entry.get('id')!r} has no file_name", "add it"
            )
            continue
        yield from _check_name(name, doubles[name], stems)
        sides = (entry.get("width"), entry.get("height"))
        whole = all(type(side) is int and side > 0 for side in sides)
        if not whole:
            remedy = "give width and height in pixels, after EXIF rotation"
            yield _error("image-size-missing", f"the size is {sides}", remedy, image=name)
        if folder is not None:
            try:
                actual = image_size(folder / name)
            except DataFormatError as error:
                yield _error("image-file", str(error), "add or replace the image", image=name)
                continue
            if whole and actual != sides:
                message = f"the file is {actual[0]} x {actual[1]}, not {sides[0]} x {sides[1]}"
                yield _error("image-size", message, "correct width and height", image=name)


def _check_name(name: str, count: int, stems: Mapping[str, int]) -> Iterator[Finding]:
    if count > 1:
        yield _error("file-name-twice", f"{count} images have this name", "keep one", image=name)
    if "\\" in name:
        yield _error("backslash", "backslashes in the name", 'write "/"', image=name)
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
    if absolute or ".." in PurePosixPath(name).parts:
        remedy = "name it relative to the image folder"
        yield _error("file-name-path", "the name leads out of the image folder", remedy, image=name)
    if stems[str(PurePosixPath(name).with_suffix(""))] > 1:
        message = "another image differs in its suffix only"
        yield _warning("stem-twice", message, "rename: datumaro drops the suffix", image=name)


# ---------------------------------------------------------------- annotations


def _check_annotations(lists: Mapping[str, list[Entry]], joints: list[str]) -> Iterator[Finding]:
    entries = lists["annotations"]
    yield from _check_ids("annotation", entries)
    images = {repr(entry.get("id")): entry for entry in lists["images"]}
    categories = {repr(entry.get("id")) for entry in lists["categories"]}
    for position, entry in enumerate(entries, start=1):
        number = str(entry.get("id", f"at position {position}"))
        image = images.get(repr(entry.get("image_id")))
        where = {"annotation": number, "image": str((image or {}).get("file_name", ""))}
        if image is None:
            message = f"unknown image_id {entry.get('image_id')!r}"
            yield _error("image-unknown", message, "add the image or drop the annotation", **where)
        if repr(entry.get("category_id")) not in categories:
            message = f"unknown category_id {entry.get('category_id')!r}"
            yield _error("category-unknown", message, "give the id of the category", **where)
        size = None
        if image is not None and is_side(image.get("width")) and is_side(image.get("height")):
            size = (image["width"], image["height"])
        labelled: list[tuple[float, float]] = []
        yield from _check_keypoints(entry, joints, size, labelled, where)
        yield from _check_box(entry, size, labelled, where)
        yield from _check_rest(entry, where)
        yield from _check_scores(entry, len(joints), where)


def _check_keypoints(
    entry: Entry,
    joints: list[str],
    size: tuple[int, int] | None,
    labelled: list[tuple[float, float]],
    where: Mapping[str, str],
) -> Iterator[Finding]:
    """Check joints, and collect the positions of those that are labelled."""
    values = entry.get("keypoints")
    if not isinstance(values, list) or (joints and len(values) != 3 * len(joints)):
        have = len(values) if isinstance(values, list) else "no"
        message = f"{have} keypoint values, expected {3 * len(joints)}"
        yield _error("keypoints-length", message, "give x, y, v of every joint", **where)
        return
    triples = zip(values[0::3], values[1::3], values[2::3], strict=False)
    count = 0
    for name, triple in zip(joints or map(str, range(len(values) // 3)), triples, strict=False):
        at = {**where, "joint": name}
        if not all(is_finite(value) for value in triple):
            message = f"found {list(triple)}, expected numbers"
            yield _error("keypoint-number", message, "write 0, 0, 0 for no label", **at)
            continue
        x, y, v = triple
        count += v > 0
        yield from _check_joint(x, y, v, size, at)
        if v > 0:
            labelled.append((x, y))
    given = entry.get("num_keypoints")
    if given != count or type(given) is not int:
        message = f"num_keypoints is {given!r}, {count} joints are labelled"
        yield _error("num-keypoints", message, f"write {count}", **where)
    if not count:
        remedy = "drop the annotation, keep the image"
        yield _error("no-joints", "no joint is labelled", remedy, **where)


def _check_joint(
    x: float, y: float, v: float, size: tuple[int, int] | None, at: Mapping[str, str]
) -> Iterator[Finding]:
    if v not in (0, 1, 2):
        yield _error("visibility", f"v is {v}", "use 0, 1 or 2", **at)
    elif type(v) is not int:
        yield _warning("visibility-float", f"v is {v}", "write whole numbers", **at)
    if v == 0 and (x or y):
        message = f"a position ({x}, {y}) although v is 0"
        yield _error("position-unlabelled", message, "write 0, 0, 0, or correct v", **at)
    if v > 0:
        if size is not None and not (0 <= x <= size[0] - 1 and 0 <= y <= size[1] - 1):
            message = f"({x}, {y}) is outside the image of {size[0]} x {size[1]}"
            yield _error("joint-outside", message, "move it inside, or drop its label", **at)
        if any(abs(value * 100 - round(value * 100)) > 1e-4 for value in (x, y)):
            yield _warning("decimals", f"({x}, {y}) has more than 2 decimals", "round", **at)


def _check_box(
    entry: Entry,
    size: tuple[int, int] | None,
    labelled: Iterable[tuple[float, float]],
    where: Mapping[str, str],
) -> Iterator[Finding]:
    box, area = entry.get("bbox"), entry.get("area")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite, box)):
        remedy = "give x, y, width, height"
        yield _error("bbox-missing", f"bbox is {box!r}", remedy, **where)
    else:
        x, y, w, h = box
        if w <= 0 or h <= 0:
            yield _error("bbox-empty", f"the box {box} is empty", "box the joints", **where)
        elif size and (min(x, y) < 0 or x + w > size[0] + 0.01 or y + h > size[1] + 0.01):
            message = f"the box {box} leaves the image of {size[0]} x {size[1]}"
            yield _error("bbox-outside", message, "clip it", **where)
        inside = all(
            x - 0.01 <= px <= x + w + 0.01 and y - 0.01 <= py <= y + h + 0.01 for px, py in labelled
        )
        if not inside:
            message = f"the box {box} leaves out labelled joints"
            yield _warning("bbox-joints", message, "box all labelled joints", **where)
        if is_finite(area) and area > 0 and abs(area - w * h) > 0.01 * w * h:
            message = f"area is {area}, the box has {w * h:g}"
            yield _warning("area-box", message, "scores depend on it: state whose it is", **where)
    if not is_finite(area) or area <= 0:
        remedy = "write width x height of the box: evaluators divide by it"
        yield _error("area", f"area is {area!r}", remedy, **where)


def _check_rest(entry: Entry, where: Mapping[str, str]) -> Iterator[Finding]:
    if entry.get("iscrowd") != 0:
        if "iscrowd" in entry:
            message = f"iscrowd is {entry['iscrowd']!r}: evaluators ignore this pose"
            yield _warning("iscrowd", message, "write 0 for a single person", **where)
        else:
            yield _error("iscrowd-missing", "no iscrowd", "write 0", **where)
    if "segmentation" not in entry:
        yield _error("segmentation-missing", "no segmentation", "write []", **where)
    source = ours(entry).get("source", "manual")
    if source not in SOURCES or mapping(entry.get("flexpose")) != entry.get("flexpose", {}):
        message = f"flexpose is {entry.get('flexpose')!r}"
        remedy = f"its source is one of {', '.join(SOURCES)}"
        yield _warning("provenance", message, remedy, **where)


def _check_scores(entry: Entry, joints: int, where: Mapping[str, str]) -> Iterator[Finding]:
    score, scores = entry.get("score", 0), entry.get("keypoint_scores", [0] * joints)
    remedy = "write numbers from 0 to 1"
    if not is_finite(score):
        yield _error("score", f"score is {score!r}", "write a number", **where)
    elif not is_score(score):
        yield _warning("score-range", f"score is {score}", remedy, **where)
    if not isinstance(scores, list) or len(scores) != joints:
        have = len(scores) if isinstance(scores, list) else "no list of"
        message = f"{have} keypoint_scores, expected {joints}"
        yield _warning("keypoint-scores-length", message, "give one a joint", **where)
    elif not all(map(is_score, scores)):
        wrong = next(value for value in scores if not is_score(value))
        yield _warning("keypoint-scores", f"keypoint_scores hold {wrong!r}", remedy, **where)
