"""300-W and 300-VW: ``.pts`` files of 68 face landmarks, one a picture or frame.

A file gives its version, the number of its points, and x and y a line between braces::

    version: 1
    n_points: 68
    {
    446.000 91.000
    ...
    }

A folder is read with all such files below it. In 300-W a file lies beside its image and has its
name. In 300-VW ``001/annot/000001.pts`` is the first frame of ``001/vid.avi``; pictures of the
frames are looked for in ``001/imgs``, and without them frames are named as
``flexpose.frames`` names those of a video: "001/vid.avi/000000.png". Sizes come from the images and
videos that are there. Groups are the clips of 300-VW; a single picture beside clips is a group of
its own, and pictures alone have none.

Positions are MATLAB's and count from 1 (menpo/menpo, issue 160), so 1 is subtracted. Every point is
labelled: inside the image it counts as visible, outside it as labelled but not visible.

Frames of 300-VW whose labels are known to be bad are listed in ``broken_frames.npy``, which
open-mmlab/mmpose@759b39c1 (tests/data/300vw) keeps beside the clips: a pickled dictionary, clip to
the numbers of its ``.pts`` files. Where that file is present its frames are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import (
    DAMAGE,
    Format,
    check_positions,
    files_below,
    has_below,
    image_size,
    npy_header,
    read_text,
    seen_inside,
    sizes_of_images,
)
from flexpose.io.pickled import load_plain
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

_FILES = "*.pts"
_LABELS, _IMAGES, _VIDEO, _BROKEN = "annot", "imgs", "vid.avi", "broken_frames.npy"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
_POINTS = 68
_FORM = re.compile(r"\s*version\s*:\s*\S+\s+n_points\s*:\s*(\d{1,6})\s*\{([^{}]*)\}\s*", re.ASCII)


@dataclass(frozen=True)
class _Face:
    """A ``.pts`` file and what it labels.

    Attributes
    ----------
    name : of the image or frame, relative to the folder that is read
    clip : the clip of 300-VW that it belongs to, or empty
    picture : the image or video that knows its size, or None
    """

    file: Path
    name: str
    clip: str
    picture: Path | None


def is_pts(path: Path) -> bool:
    """Whether the file begins like a ``.pts`` of landmarks, or the folder has some below it."""
    if path.is_dir():
        return has_below(path, _FILES)
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == ".pts" and b"n_points" in file.read(200)
    except OSError:
        return False


def read_pts(path: Path, *, image_root: Path | None = None) -> PoseSet:
    """Read one file, or all below a folder in the order of their names.

    Parameters
    ----------
    image_root : folder of images and videos, arranged as the ``.pts`` files are; all must be there

    Raises
    ------
    DataFormatError : a file is missing, damaged, or holds another number of points.
    """
    path = path.absolute()
    files = files_below(path, _FILES) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    if root.name == _LABELS:
        root = root.parent
    pictures = cache(_pictures)
    faces = [_face(file, root, image_root, pictures) for file in files]
    notes = [f"300-W and 300-VW, {path.name}; 1 subtracted from positions"]
    if any(face.clip for face in faces):
        broken = _broken_frames(root.parent if (root / _LABELS).is_dir() else root)
        found, faces = faces, [face for face in faces if not _is_broken(face, broken)]
        if len(faces) < len(found):
            notes.append(f"left out by {_BROKEN}: {len(found) - len(faces)}")
    points = np.array([_points(face.file) for face in faces]).reshape(-1, _POINTS, 2)
    keypoints = points.astype(np.float32) - 1
    sizes, note = _sizes(faces, keypoints)
    in_clips = any(face.clip for face in faces)
    return PoseSet(
        skeleton=load_skeleton("face68"),
        keypoints=keypoints,
        visibility=seen_inside(keypoints, sizes),
        image_size=sizes,
        image_ids=tuple(face.name for face in faces),
        groups=tuple(face.clip or face.name for face in faces) if in_clips else None,
        source=(*notes, note),
    )


def _face(
    file: Path, root: Path, image_root: Path | None, pictures: Callable[[Path], Mapping[str, str]]
) -> _Face:
    """Find the image or frame that a file labels."""
    images = image_root or root
    place = file.relative_to(root).parent
    if file.parent.name != _LABELS:
        name = pictures(images / place).get(file.stem, file.stem)
        found = name != file.stem or image_root is not None
        return _Face(file, (place / name).as_posix(), "", images / place / name if found else None)
    folder = place.parent
    clip = folder.as_posix() if folder.name else root.name
    if not file.stem.isdecimal() or int(file.stem) < 1:
        raise DataFormatError(file, "", "expected the number of a frame, from 1, as its name")
    image = pictures(images / folder / _IMAGES).get(file.stem)
    if image is not None:
        name = (folder / _IMAGES / image).as_posix()
        return _Face(file, name, clip, images / name)
    video = images / folder / _VIDEO
    name = (folder / _VIDEO / f"{int(file.stem) - 1:06d}.png").as_posix()
    known = image_root is not None or video.exists()
    return _Face(file, name, clip, video if known else None)


def _pictures(folder: Path) -> dict[str, str]:
    """Names of the images in a folder by their stems; empty without such a folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {Path(name).stem: name for name in names if Path(name).suffix.lower() in _SUFFIXES}


def _points(path: Path) -> NDArray[np.float64]:
    """Positions (68, 2) as they stand in a file."""
    found = _FORM.fullmatch(read_text(path))
    if found is None:
        raise DataFormatError(
            path, "", "is cut short or no .pts file; expected version, n_points and points in { }"
        )
    if int(found[1]) != _POINTS:
        raise DataFormatError(
            path,
            "n_points",
            f"found {int(found[1])} points, expected the {_POINTS} of 300-W.",
            "Other sets of landmarks are not read from .pts files.",
        )
    try:
        values = np.array(found[2].split(), dtype=np.float64)
    except ValueError as error:
        raise DataFormatError(path, "", "found a position that is not a number") from error
    if values.size != 2 * _POINTS:
        raise DataFormatError(
            path, "", f"found {values.size} numbers, expected x and y of {_POINTS} points"
        )
    check_positions(path, "points", values)
    return values.reshape(_POINTS, 2)


def _broken_frames(folder: Path) -> Mapping[str, Collection[int]]:
    """Clip to the numbers of its bad frames; empty where there is no such list."""
    path = folder / _BROKEN
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file:
            npy_header(file)
            frames = load_plain(file.read()).item()
        return {str(clip): frozenset(int(number) for number in frames[clip]) for clip in frames}
    except OSError as error:
        raise DataFormatError(path, "", f"cannot be read ({error.strerror or error})") from error
    except DAMAGE as error:
        problem = "is damaged, or no pickled dictionary of clips and frames"
        raise DataFormatError(path, "", problem) from error


def _is_broken(face: _Face, broken: Mapping[str, Collection[int]]) -> bool:
    clip = face.clip.rpartition("/")[2]
    return bool(face.clip) and int(face.file.stem) in broken.get(clip, ())


def _sizes(faces: Sequence[_Face], keypoints: NDArray[np.float32]) -> tuple[NDArray[np.int32], str]:
    """Sizes (N, 2) from images and videos; where there is none, the smallest that fits."""
    size_of = cache(lambda file: (_video_size if file.name == _VIDEO else image_size)(file))
    sizes, note = sizes_of_images([face.name for face in faces], keypoints, None)
    known = [face.picture is not None for face in faces]
    for row, face in enumerate(faces):
        if face.picture is not None:
            sizes[row] = size_of(face.picture)
    if all(known):
        note = "image sizes from the files"
    elif any(known):
        note = f"image sizes from the files; of {known.count(False)} unknown: the smallest that fit"
    return sizes, note


def _video_size(path: Path) -> tuple[int, int]:
    import av  # few readers need it

    try:
        with av.open(str(path), metadata_errors="replace") as video:
            stream = video.streams.video[0]
            return stream.width, stream.height
    except (av.FFmpegError, OSError, *DAMAGE) as error:
        raise DataFormatError(path, "", f"is no video that can be read ({error})") from error


FORMAT = Format(
    name="pts",
    summary="300-W and 300-VW (.pts of 68 face landmarks, or a folder of them)",
    sniff=is_pts,
    read=read_pts,
    folder=".pts files of 300-W or 300-VW",
)
