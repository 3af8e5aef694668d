"""COCO keypoints: the reader.

Mends, and says so: ids that are missing, from 0 or text, missing optional fields, visibility as
0.0, 1.0, 2.0, NaN, positions of joints that are not labelled, backslashes in names, unknown image
sizes, categories without joint names, edges that count from 0. Refuses, naming image and
annotation: a wrong number of keypoint values, an unknown image or category, doubled ids, and
whatever is not JSON of this shape. Unknown fields survive a read and a write.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.io.base import Format, image_size, read_text
from flexpose.io.coco import CocoDataset, CocoImage, Notes, padded_boxes, write_coco
from flexpose.io.coco_parts import (
    Entry,
    Placed,
    ReadFile,
    annotations_of,
    choose_category,
    is_side,
    mapping,
    ours,
    read_annotation,
    read_boxes,
    read_confidence,
    read_keypoints,
    read_skeleton,
)
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton


def read_coco(
    path: Path | str,
    *,
    image_root: Path | str | None = None,
    category: str | None = None,
    skeleton: Skeleton | None = None,
) -> CocoDataset:
    """Read a COCO keypoints file; the file's category is the skeleton.

    A shipped skeleton is recognised by its joint names in their order, and then brings its edges,
    sides and sigmas; of other skeletons, joints called ``left_...`` and ``right_...`` are pairs.

    Parameters
    ----------
    image_root : folder of the images, read for sizes that the file lacks
    category : name of the category, needed when several have keypoints
    skeleton : express the poses in this skeleton, joints matched by name

    Raises
    ------
    DataFormatError : the file cannot be read, or see above.
    SkeletonMismatchError : the file lacks joints of ``skeleton``.
    """
    file = ReadFile(Path(path), Notes())
    document = _document(file)
    chosen = choose_category(file, document, category)
    found = annotations_of(file, document, chosen)
    own_skeleton, category_fields = read_skeleton(file, chosen, found)
    info = _info(file, document)
    poses, kept, has_box, images = _read_people(file, document, found, own_skeleton, image_root)
    history = mapping(info.get("flexpose")).get("history")
    if not isinstance(history, list) or not all(isinstance(line, str) for line in history):
        history = [f"COCO keypoints, {file.path.name}"]
    groups = [ours(entry).get("group") for _, entry in kept]
    grouped = bool(groups) and all(isinstance(group, str) for group in groups)
    poses = replace(
        poses, source=tuple(history), groups=tuple(map(str, groups)) if grouped else None
    )
    ids = file.ids([entry.get("id") for _, entry in kept], "annotation")
    licenses = document.get("licenses")
    return CocoDataset(
        poses=poses if skeleton is None else map_poses(poses, skeleton),
        annotations=tuple(
            read_annotation(
                file,
                place,
                entry,
                number,
                boxed=bool(boxed),
                grouped=grouped,
                scored=poses.confidence is not None,
            )
            for (place, entry), number, boxed in zip(kept, ids, has_box, strict=True)
        ),
        images=images,
        info=info,
        licenses=tuple(licenses) if isinstance(licenses, list) else (),
        fields={k: v for k, v in document.items() if k not in _TOP_LEVEL},
        category_fields=category_fields,
        repairs=file.notes.sentences(),
    )


_TOP_LEVEL = ("info", "licenses", "categories", "images", "annotations")


def _document(file: ReadFile) -> Entry:
    def constant(name: str) -> None:
        file.notes.add(f"{name}, which JSON does not know, read as missing", "the file")

    try:
        document = json.loads(read_text(file.path), parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise file.refuse("", f"is not valid JSON ({error})") from error
    if not isinstance(document, dict):
        raise file.refuse("", "found a list or value, expected a COCO document (a JSON object)")
    return document


def _info(file: ReadFile, document: Entry) -> Entry:
    for key, kind in (("info", dict), ("licenses", list)):
        if not isinstance(document.get(key), kind):
            file.notes.add(f"the key {key!r} is missing", "the file")
    return mapping(document.get("info"))


def _read_people(
    file: ReadFile,
    document: Entry,
    found: Placed,
    skeleton: Skeleton,
    image_root: Path | str | None,
) -> tuple[PoseSet, Placed, NDArray[np.bool_], tuple[CocoImage, ...]]:
    """Poses with a labelled joint, their annotations, whether these have a box, and all images."""
    keypoints, visibility = read_keypoints(file, found, skeleton)
    some = np.asarray((visibility > 0).any(axis=1))
    for row in np.flatnonzero(~some):
        file.notes.add("no labelled joint; left out", found[row][0])
    kept = [found[row] for row in np.flatnonzero(some)]
    keypoints, visibility = keypoints[some], visibility[some]
    boxes, has_box = read_boxes(file, kept)
    images, owners = _read_images(file, document, kept, keypoints, boxes, image_root)
    sizes = np.array([(i.width, i.height) for i in owners], dtype=np.int32).reshape(-1, 2)
    computed = padded_boxes(np.nan_to_num(keypoints), visibility > 0, sizes)
    poses = PoseSet(
        skeleton=skeleton,
        keypoints=keypoints.astype(np.float32),
        visibility=visibility,
        image_size=sizes,
        confidence=read_confidence(file, kept, visibility),
        boxes=np.where(has_box[:, None], boxes, computed).astype(np.float32),
        image_ids=tuple(image.name for image in owners),
    )
    return poses, kept, has_box, images


# ---------------------------------------------------------------- images


def _read_images(
    file: ReadFile,
    document: Entry,
    found: Placed,
    keypoints: NDArray[np.float64],
    boxes: NDArray[np.float64],
    image_root: Path | str | None,
) -> tuple[tuple[CocoImage, ...], list[CocoImage]]:
    """All images in file order, and the image of each annotation."""
    entries = file.entries(document, "images")
    raw_ids = [entry.get("id") for entry in entries]
    if None in raw_ids:
        raise file.refuse(f"image at position {raw_ids.index(None) + 1}", "has no id")
    numbers = file.ids(raw_ids, "image")
    extent: dict[Any, tuple[float, float]] = {}
    people: dict[Any, int] = {}
    known = set(raw_ids)
    for (place, entry), joints, box in zip(found, keypoints, boxes, strict=True):
        owner = entry.get("image_id")
        if isinstance(owner, (list, dict)) or owner not in known:
            raise file.refuse(place, f"unknown image_id {owner!r}")
        reach = np.fmax(np.nanmax(joints, axis=0) + 1, box[:2] + box[2:])
        old = extent.get(owner, (1.0, 1.0))
        extent[owner] = (max(old[0], float(reach[0])), max(old[1], float(reach[1])))
        people[owner] = people.get(owner, 0) + 1
        if people[owner] == 2:
            file.notes.add("several poses in one image; all kept", place)
    images = {}
    for entry, raw, number in zip(entries, raw_ids, numbers, strict=True):
        images[raw] = _read_image(file, entry, number, extent.get(raw, (1.0, 1.0)), image_root)
    names = [image.name for image in images.values()]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise file.refuse(f"image {twice!r}", "found this file name twice")
    return tuple(images.values()), [images[entry["image_id"]] for _, entry in found]


def _read_image(
    file: ReadFile,
    entry: Entry,
    number: int,
    extent: tuple[float, float],
    image_root: Path | str | None,
) -> CocoImage:
    name = entry.get("file_name")
    place = f"image {name!r}"
    if not isinstance(name, str) or not name:
        raise file.refuse(f"image {entry.get('id')}", "has no file_name")
    if "\\" in name:
        file.notes.add('backslashes of the name read as "/"', place)
        name = name.replace("\\", "/")
    width, height = entry.get("width"), entry.get("height")
    if not (is_side(width) and is_side(height)):
        if image_root is not None:
            width, height = image_size(Path(image_root) / name)
            file.notes.add("no width and height; read from the file", place)
        else:
            width, height = math.ceil(extent[0]), math.ceil(extent[1])
            file.notes.add("no width and height; the smallest that hold all joints", place)
    return CocoImage(
        name=name,
        width=int(width),
        height=int(height),
        id=number,
        fields={
            key: value
            for key, value in entry.items()
            if key not in ("id", "file_name", "width", "height")
        },
    )


# ---------------------------------------------------------------- registration


def is_coco(path: Path) -> bool:
    """Whether the file is called ``.json`` and begins as a JSON object."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError:
        return False
    return path.suffix.lower() == ".json" and start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"


def _read_poses(path: Path, *, image_root: Path | None = None) -> PoseSet:
    return read_coco(path, image_root=image_root).poses


FORMAT = Format(
    name="coco",
    summary="COCO keypoints",
    sniff=is_coco,
    read=_read_poses,
    write=write_coco,
    suffix=".json",
)
