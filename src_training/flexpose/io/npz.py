"""FlexPose's own ``.npz``: every field of a ``PoseSet``, exactly.

Members: ``header``, ``keypoints`` float32 (N, J, 2), ``visibility`` int8 (N, J), ``image_size``
int32 (N, 2) and, where the poses have them, ``confidence``, ``boxes``, ``norm_length``,
``image_ids``, ``groups``.
Header and names are JSON text in bytes (``json.loads(bytes(file["header"]))``); nothing is pickled.
The header holds ``format``, ``version``, ``skeleton`` (the form of the YAML files) and ``source``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError, FlexPoseError
from flexpose.io.base import Format, atomic_open, npz_names, read_npz
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

VERSION = 1
_ARRAYS = ("keypoints", "visibility", "image_size")
_OPTIONAL = ("confidence", "boxes", "norm_length")
_NAMES = ("image_ids", "groups")
_DAMAGE = (TypeError, ValueError, LookupError, AttributeError)


def write_npz(poses: PoseSet, path: Path | str, *, backup: bool = False) -> None:
    """Write poses in one step, without loss.

    Raises
    ------
    DataFormatError : the file cannot be written.
    """
    header = {
        "format": "flexpose-poses",
        "version": VERSION,
        "skeleton": poses.skeleton.to_dict(),
        "source": list(poses.source),
    }
    members: dict[str, NDArray[Any]] = {"header": _json_bytes(header)}
    for name in (*_ARRAYS, *_OPTIONAL):
        if getattr(poses, name) is not None:
            members[name] = getattr(poses, name)
    for name in _NAMES:
        if getattr(poses, name) is not None:
            members[name] = _json_bytes(list(getattr(poses, name)))
    with atomic_open(path, backup=backup) as file:
        np.savez_compressed(file, allow_pickle=False, **members)


def read_npz_poses(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read what ``write_npz`` wrote.

    Raises
    ------
    DataFormatError : the file is missing, damaged, of a newer version, or its members do not fit.
    """
    present = npz_names(path)
    optional = [name for name in (*_OPTIONAL, *_NAMES) if name in present]
    data = read_npz(path, ("header", *_ARRAYS, *optional))
    header = _json_value(path, "header", data["header"])
    if not isinstance(header, dict) or header.get("format") != "flexpose-poses":
        raise DataFormatError(path, "header", "is not that of a FlexPose pose file")
    if header.get("version") != VERSION:
        raise DataFormatError(
            path,
            "header",
            f"found version {header.get('version')}, expected {VERSION}.",
            "Read it with the version of FlexPose that wrote it.",
        )
    fields: dict[str, Any] = {name: data[name] for name in (*_ARRAYS, *_OPTIONAL) if name in data}
    for name in _NAMES:
        if name in data:
            value = _json_value(path, name, data[name])
            if not isinstance(value, list):
                raise DataFormatError(path, name, "expected a list of names")
            fields[name] = tuple(value)
    try:
        fields["source"] = tuple(header["source"])
        fields["skeleton"] = Skeleton.from_dict(header["skeleton"], path)
    except (FlexPoseError, *_DAMAGE) as error:
        raise DataFormatError(path, "header", f"is incomplete or damaged ({error})") from error
    try:
        return PoseSet(**fields)
    except (FlexPoseError, *_DAMAGE) as error:
        raise DataFormatError(path, "arrays", f"do not fit together ({error})") from error


def is_npz_poses(path: Path) -> bool:
    """Whether the file is an ``.npz`` with the members of this format."""
    return npz_names(path).issuperset(("header", *_ARRAYS))


def _json_bytes(value: Any) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode("ascii"), dtype=np.uint8)


def _json_value(path: Path, name: str, data: NDArray[Any]) -> Any:
    try:
        return json.loads(data.tobytes())
    except (ValueError, RecursionError) as error:
        raise DataFormatError(path, name, f"is not JSON text ({error})") from error


FORMAT = Format(
    name="npz",
    summary="FlexPose's own lossless .npz",
    sniff=is_npz_poses,
    read=read_npz_poses,
    write=write_npz,
    suffix=".npz",
)
