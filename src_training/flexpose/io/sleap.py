"""SLEAP label files (``.slp``), written through the optional package sleap-io. Written only."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from flexpose.errors import DataFormatError, MissingDependencyError
from flexpose.poseset import PoseSet


def write_sleap(poses: PoseSet, path: Path | str, images: Path | str) -> tuple[str, ...]:
    """Write poses with references to their images, in one step.

    Parameters
    ----------
    images : folder that the image names are relative to; a name ``clip.mp4/000012.png`` means
        frame 12 of the video ``clip.mp4`` when there is such a file

    Returns
    -------
    one sentence for each kind of change that the format forced

    Raises
    ------
    MissingDependencyError : sleap-io is not installed.
    DataFormatError : an image is missing, or the file cannot be written.
    """
    try:
        sleap_io: Any = importlib.import_module("sleap_io")
    except ImportError as error:
        raise MissingDependencyError("sleap-io", "Writing SLEAP files") from error
    path = Path(path)
    labels = _labels(sleap_io, poses, Path(images), path)
    partial = path.with_name(f".{secrets.token_hex(8)}.slp")
    try:
        labels.save(str(partial), embed=False, verbose=False)
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or error
        raise DataFormatError(path, "", f"cannot be written ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)
    hidden = int((poses.visibility == 1).sum())
    return (f"SLEAP does not keep that {hidden} joints are occluded.",) if hidden else ()


def _labels(sleap_io: Any, poses: PoseSet, root: Path, where: Path) -> Any:
    skeleton = poses.skeleton
    made = sleap_io.Skeleton(
        nodes=list(skeleton.joints),
        edges=[(skeleton.joints[a], skeleton.joints[b]) for a, b in skeleton.edges],
        symmetries=[(skeleton.joints[a], skeleton.joints[b]) for a, b in skeleton.symmetric_pairs],
        name=skeleton.name,
    )
    names = poses.image_ids or ()
    places = _places(sleap_io, dict.fromkeys(names), root, where)
    instances: dict[str, list[Any]] = {}
    for name, points in zip(names, poses.keypoints, strict=True):
        instance = sleap_io.Instance.from_numpy(points.astype(np.float64), skeleton=made)
        instances.setdefault(name, []).append(instance)
    frames = [
        sleap_io.LabeledFrame(video=places[name][0], frame_idx=places[name][1], instances=found)
        for name, found in instances.items()
    ]
    videos = list({id(video): video for video, _ in places.values()}.values())
    return sleap_io.Labels(labeled_frames=frames, videos=videos, skeletons=[made])


def _places(
    sleap_io: Any, names: Iterable[str], root: Path, where: Path
) -> dict[str, tuple[Any, int]]:
    """Video and frame number of each image; images of a folder are one video together."""
    places: dict[str, tuple[Any, int]] = {}
    videos: dict[Path, Any] = {}
    single: list[str] = []
    for name in names:
        file = root / name
        if file.parent.is_file():
            if file.parent not in videos:
                videos[file.parent] = sleap_io.Video.from_filename(str(file.parent))
            places[name] = videos[file.parent], int(file.stem)
        elif file.is_file():
            single.append(name)
        else:
            raise DataFormatError(where, f"image {name}", f"is not in {root}")
    if single:
        video = sleap_io.Video.from_filename([str(root / name) for name in single])
        places |= {name: (video, number) for number, name in enumerate(single)}
    return places
