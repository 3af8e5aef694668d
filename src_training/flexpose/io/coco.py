"""COCO keypoints: the writer, and the data that COCO keeps beside a pose.

One file holds one category, which is the skeleton, and at least these fields of an annotation: ids
from 1, ``keypoints`` x, y, v with x and y to 2 decimals (0, 0, 0 where not labelled),
``num_keypoints``, ``bbox``, ``area``, ``iscrowd``, ``segmentation``; provenance stands under
``flexpose``. Predictions have ``score`` and, where it differs from joint to joint, MMPose's
``keypoint_scores``. Edges count joints from 1, ``area`` is width times height of the box, and
nothing is ever NaN: clients of COCO files differ in what they need, this is what all of them read.

Reading is in ``coco_read``, generated sets of any length are written by ``coco_stream``. The same
data give the same bytes, and a file written here comes back byte for byte after a read and a write.
Not kept: ``norm_length``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import atomic_open
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

Source = Literal["manual", "suggested", "synthetic"]
SOURCES = ("manual", "suggested", "synthetic")
BOX_PADDING = 0.1
CONVENTIONS = {
    "coordinates": "pixels; (0, 0) is the centre of the top-left pixel",
    "boxes": "x, y, width, height around labelled joints, padded by 10 % (1 pixel at least)",
    "area": "width times height of the box",
}
INFO = {
    "description": "Poses by napari-flexpose",
    "version": "1.0",
    "year": 0,
    "contributor": "",
    "url": "",
    "date_created": "",
}
_LICENSES = ({"id": 1, "name": "", "url": ""},)


@dataclass(frozen=True, kw_only=True)
class CocoAnnotation:
    """What a COCO file says of one pose beside its joints and box.

    Attributes
    ----------
    id : positive number, unique in the file; None takes the next free one
    source : who placed the joints; None when unknown (files of others)
    reviewed : whether a person has accepted them
    model, seed : what made a suggested or synthetic pose
    score : confidence of a prediction; None takes the mean over its labelled joints, if known
    fields : everything else to write as it is: unknown fields, and ``iscrowd``, ``segmentation``
        and ``area`` where they are not 0, [] and the box's
    """

    id: int | None = None
    source: Source | None = "manual"
    reviewed: bool = True
    model: str | None = None
    seed: int | None = None
    score: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """An entry of ``images``: relative name with "/", size in pixels after EXIF rotation."""

    name: str
    width: int
    height: int
    id: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CocoDataset:
    """Poses and all that a COCO file holds beside them.

    Attributes
    ----------
    poses : N poses; ``boxes`` are written as they are where they hold a positive area, so pass
        ``replace(poses, boxes=None)`` after moving joints
    annotations : N, one a pose; empty for ``CocoAnnotation()`` throughout
    images : images in file order, those without a pose too; what poses name and this lacks is added
    info, licenses, fields : of the file; ``fields`` holds unknown top-level entries
    category_fields : unknown entries of the category
    repairs : what the reader had to mend, one sentence a kind
    """

    poses: PoseSet
    annotations: tuple[CocoAnnotation, ...] = ()
    images: tuple[CocoImage, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    licenses: tuple[Any, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    category_fields: Mapping[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()


def write_coco(
    data: CocoDataset | PoseSet, path: Path | str, *, backup: bool = True
) -> tuple[str, ...]:
    """Write a COCO keypoints file in one step; what was there stays as ``<name>.bak``.

    Returns
    -------
    one sentence for each kind of change that the format forced, such as clipped joints

    Raises
    ------
    DataFormatError : the data break the format (names, sizes, ids), or the disk is full.
    """
    dataset = data if isinstance(data, CocoDataset) else CocoDataset(poses=data)
    document, notes = coco_document(dataset, where=path)
    try:
        lines = list(document_lines(document))
    except ValueError as error:
        raise DataFormatError(path, "", f"a field cannot be written as JSON ({error})") from error
    with atomic_open(path, backup=backup) as file:
        file.writelines(lines)
    return notes


def coco_document(
    dataset: CocoDataset, *, where: Path | str = "COCO document"
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Build the COCO document of a dataset, and sentences on what the format forced.

    Raises
    ------
    DataFormatError : ids or image names clash, or an image has two sizes or an absolute name.
    """
    poses, notes = dataset.poses, Notes()
    details = dataset.annotations or (CocoAnnotation(),) * len(poses)
    if len(details) != len(poses):
        raise DataFormatError(where, "", f"{len(details)} annotations for {len(poses)} poses")
    images, image_numbers = _image_entries(dataset, where, notes)
    ids = _complete_ids([detail.id for detail in details], "annotation", where)
    rows = pose_fields(poses, notes)
    annotations = [
        annotation_entry(number, image, row, detail, group)
        for number, image, row, detail, group in zip(
            ids,
            image_numbers,
            rows,
            details,
            poses.groups or (None,) * len(poses),
            strict=True,
        )
        if row["num_keypoints"]
    ]
    document: dict[str, Any] = {
        **header(
            poses.skeleton,
            poses.source,
            dataset.info,
            dataset.licenses,
            dataset.category_fields,
        ),
        "images": images,
        "annotations": annotations,
        **dataset.fields,
    }
    return document, notes.sentences()


def coco_results(
    dataset: CocoDataset, *, where: Path | str = "COCO results"
) -> list[dict[str, Any]]:
    """COCO's results list, one entry a prediction: image_id, category_id, keypoints, score.

    Ids are those of ``coco_document`` of the same dataset; a pose without a score gets 1.
    """
    document, _ = coco_document(dataset, where=where)
    return [
        {
            "image_id": entry["image_id"],
            "category_id": entry["category_id"],
            "keypoints": entry["keypoints"],
            "score": entry.get("score", 1.0),
        }
        for entry in document["annotations"]
    ]


class Notes:
    """Counts what was changed, by sentence, and remembers where it happened first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, sentence: str, place: str, count: int = 1) -> None:
        """Note ``count`` more cases, the first of them at ``place``."""
        known, first = self._found.get(sentence, (0, place))
        self._found[sentence] = (known + count, first)

    def sentences(self) -> tuple[str, ...]:
        """One sentence a kind."""
        return tuple(
            f"{place}: {text}" if count == 1 else f"{text} ({count} times, first {place})"
            for text, (count, place) in self._found.items()
        )


# ---------------------------------------------------------------- parts of the document


def header(
    skeleton: Skeleton,
    history: Sequence[str],
    info: Mapping[str, Any],
    licenses: Sequence[Any] = (),
    category_fields: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Everything before the images: ``info``, ``licenses``, ``categories``."""
    conventions = {**CONVENTIONS, "history": list(history)}
    return {
        "info": {**(info or INFO), "flexpose": conventions},
        "licenses": list(licenses or _LICENSES),
        "categories": [_merged(category(skeleton), category_fields)],
    }


def category(skeleton: Skeleton) -> dict[str, Any]:
    """COCO category of a skeleton; what COCO has no field for stands under ``flexpose``."""
    ours = skeleton.to_dict()
    for key in ("category", "joints", "edges"):
        del ours[key]
    return {
        "id": 1,
        "name": skeleton.category,
        "supercategory": skeleton.category,
        "keypoints": list(skeleton.joints),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.edges],
        "flexpose": ours,
    }


def pose_fields(poses: PoseSet, notes: Notes, first: int = 1) -> list[dict[str, Any]]:
    """What an annotation says of each pose, from ``keypoints`` to ``keypoint_scores``.

    ``first`` is the number of the first pose in notes on poses without an image name.
    """
    labelled = poses.labelled
    limit = poses.image_size[:, None, :].astype(np.float64) - 1
    exact = np.where(labelled[..., None], poses.keypoints.astype(np.float64), 0)
    inside = np.clip(exact, 0, limit) * labelled[..., None]
    moved = np.asarray((inside != exact).any(axis=2))
    for row, joint in np.argwhere(moved):
        notes.add(
            "joint outside the image, moved to its border",
            f"{_pose_name(poses, int(row), first)}, {poses.skeleton.joints[joint]}",
        )
    points = np.round(inside, 2)
    boxes = _boxes(poses, points)
    flat = np.dstack([points, poses.visibility]).reshape(len(poses), 3 * points.shape[1]).tolist()
    counts = labelled.sum(axis=1).tolist()
    areas = np.round(boxes[:, 2] * boxes[:, 3], 2).tolist()
    for row in np.flatnonzero(~labelled.any(axis=1)):
        notes.add("no labelled joint, so no annotation", _pose_name(poses, int(row), first))
    return [
        {
            "keypoints": _plain(k),
            "num_keypoints": n,
            "bbox": _plain(b),
            "area": _plain([a])[0],
            "iscrowd": 0,
            "segmentation": [],
            **scores,
        }
        for k, n, b, a, scores in zip(
            flat, counts, boxes.tolist(), areas, _scores(poses), strict=True
        )
    ]


def _scores(poses: PoseSet) -> list[dict[str, Any]]:
    """``score`` and ``keypoint_scores`` of each pose, to 4 decimals; nothing without confidence."""
    if poses.confidence is None:
        return [{}] * len(poses)
    rounded = np.round(poses.confidence.astype(np.float64), 4)
    means = np.round(rounded.sum(axis=1) / np.maximum(poses.labelled.sum(axis=1), 1), 4)
    return [
        {"score": mean, "keypoint_scores": _plain(row)}
        for mean, row in zip(_plain(means.tolist()), rounded.tolist(), strict=True)
    ]


def padded_boxes(
    points: NDArray[np.floating], labelled: NDArray[np.bool_], image_size: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Boxes around labelled joints, padded by 10 % of their sides (1 pixel at least), clipped.

    Parameters
    ----------
    points : float (N, J, 2), pixels inside the images
    labelled : bool (N, J)
    image_size : int (N, 2) width, height

    Returns
    -------
    float64 (N, 4) x, y, width, height to 2 decimals; a positive area inside the image (0 where no
    joint is labelled)
    """
    some = np.asarray(labelled.any(axis=1))
    mask = labelled[..., None] | ~some[:, None, None]
    low = np.where(mask, points, np.inf).min(axis=1)
    high = np.where(mask, points, -np.inf).max(axis=1)
    pad = np.maximum((high - low) * BOX_PADDING, 1)
    # pixels reach half a pixel beyond their centres, but evaluators take boxes from 0 to the size
    low = np.round(np.clip(low - pad, 0, image_size), 2)
    high = np.round(np.clip(high + pad, 0, image_size), 2)
    sides = np.round(high - low, 2)
    return np.where(some[:, None], np.concatenate([low, sides], axis=1), 0.0)


def _boxes(poses: PoseSet, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip the poses' own boxes; take padded ones where there is none with an area."""
    computed = padded_boxes(points, poses.labelled, poses.image_size)
    if poses.boxes is None:
        return computed
    own = poses.boxes.astype(np.float64)
    low = np.round(np.clip(own[:, :2], 0, poses.image_size), 2)
    sides = np.minimum(own[:, 2:] + np.minimum(own[:, :2], 0), poses.image_size - low)
    own = np.concatenate([low, np.round(sides, 2)], axis=1)
    usable = np.asarray(np.isfinite(own).all(axis=1) & (own[:, 2:] > 0).all(axis=1))
    return np.where(usable[:, None], own, computed)


def annotation_entry(
    number: int,
    image: int,
    row: Mapping[str, Any],
    detail: CocoAnnotation,
    group: str | None = None,
) -> dict[str, Any]:
    """One entry of ``annotations``; ``row`` is one of ``pose_fields``."""
    entry: dict[str, Any] = {
        "id": number,
        "image_id": image,
        "category_id": 1,
        **row,
    }
    if detail.score is not None:
        entry["score"] = detail.score
    if "keypoint_scores" in entry and _repeats_score(entry):
        del entry["keypoint_scores"]
    ours: dict[str, Any] = {}
    if detail.source is not None:
        ours |= {"source": detail.source, "reviewed": detail.reviewed}
    for key, value in (("model", detail.model), ("seed", detail.seed), ("group", group)):
        if value is not None:
            ours[key] = value
    if ours:
        entry["flexpose"] = ours
    return _merged(entry, detail.fields)


def _repeats_score(entry: Mapping[str, Any]) -> bool:
    """Whether every labelled joint has the pose's score, which the reader takes for them all."""
    score = round(float(np.float32(entry["score"])), 4)
    flags = entry["keypoints"][2::3]
    same = all(s == score for s, v in zip(entry["keypoint_scores"], flags, strict=True) if v)
    return same and 0 <= entry["score"] <= 1


def _merged(entry: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Add to an entry the fields kept from a file; those under ``flexpose`` join ours."""
    if isinstance(fields.get("flexpose"), Mapping):
        fields = {**fields, "flexpose": entry.get("flexpose", {}) | dict(fields["flexpose"])}
    return entry | dict(fields)


def image_entry(image: CocoImage, number: int) -> dict[str, Any]:
    """One entry of ``images``."""
    known = {"id": number, "file_name": image.name, "width": image.width, "height": image.height}
    return {**known, **image.fields}


def _image_entries(
    dataset: CocoDataset, where: Path | str, notes: Notes
) -> tuple[list[dict[str, Any]], list[int]]:
    """Build the ``images`` list, and the number of each pose's image."""
    poses = dataset.poses
    images = {_slashes(image.name, notes): image for image in dataset.images}
    if len(images) != len(dataset.images):
        raise DataFormatError(where, "images", "two images have the same name")
    names = poses.image_ids or tuple(synthetic_name(i + 1) for i in range(len(poses)))
    names = tuple(_slashes(name, notes) for name in names)
    for name, (width, height) in zip(names, poses.image_size.tolist(), strict=True):
        image = images.setdefault(name, CocoImage(name=name, width=width, height=height))
        if (image.width, image.height) != (width, height):
            raise DataFormatError(
                where,
                f"image {name!r}",
                f"has two sizes, {image.width} x {image.height} and {width} x {height}",
            )
    for name, image in images.items():
        if PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute():
            problem = "found an absolute name, expected one relative to the image folder"
            raise DataFormatError(where, f"image {name!r}", problem)
        if image.width < 1 or image.height < 1:
            problem = f"found the size {image.width} x {image.height}, expected positive numbers"
            raise DataFormatError(where, f"image {name!r}", problem)
    numbers = _complete_ids([image.id for image in images.values()], "image", where)
    entries = [
        image_entry(replace(image, name=name), number)
        for number, (name, image) in zip(numbers, images.items(), strict=True)
    ]
    at = dict(zip(images, numbers, strict=True))
    return entries, [at[name] for name in names]


def _slashes(name: str, notes: Notes) -> str:
    if "\\" in name:
        notes.add('backslashes of the name written as "/"', f"image {name!r}")
    return name.replace("\\", "/")


def synthetic_name(number: int) -> str:
    """Image name of a pose that has no image, by its number from 1."""
    return f"synthetic/{number:09d}.png"


def _complete_ids(ids: Iterable[int | None], kind: str, where: Path | str) -> list[int]:
    """Given ids, and for None the next number after the largest one."""
    ids = list(ids)
    given = [number for number in ids if number is not None]
    if len(set(given)) != len(given) or any(number < 1 for number in given):
        raise DataFormatError(where, f"{kind} ids", "found doubles or numbers below 1")
    following = iter(range(max(given, default=0) + 1, max(given, default=0) + 1 + len(ids)))
    return [next(following) if number is None else number for number in ids]


def _pose_name(poses: PoseSet, row: int, first: int) -> str:
    return f"pose {row + first}" if poses.image_ids is None else f"image {poses.image_ids[row]!r}"


def _plain(numbers: list[float]) -> list[int | float]:
    """Whole numbers without ".0": shorter, and visibility stays an integer."""
    return [int(x) if x.is_integer() else x for x in numbers]


# ---------------------------------------------------------------- text


def dumps(value: Any) -> str:
    """JSON as this module writes it: UTF-8 as it is, no NaN."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def document_lines(document: Mapping[str, Any]) -> Iterator[bytes]:
    """Bytes of a document: one line a field, and one an image and an annotation."""
    yield b"{\n"
    last = len(document) - 1
    for position, (key, value) in enumerate(document.items()):
        if key in ("images", "annotations"):
            yield f"{dumps(key)}: [".encode()
            for number, entry in enumerate(value):
                yield entry_line(entry, number)
            yield b"\n]"
        else:
            yield f"{dumps(key)}: {dumps(value)}".encode()
        yield b",\n" if position < last else b"\n}\n"


def entry_line(entry: Mapping[str, Any], number: int) -> bytes:
    """Bytes of the entry that stands at a position (from 0) of a list, separator first."""
    return f"{',' if number else ''}\n{dumps(entry)}".encode()
