"""Frames that are image files: all of a folder, or those that a COCO file lists.

What ``read`` makes of an image: turned as its EXIF data ask for; grey becomes three equal channels;
transparency is dropped; 16-bit colour keeps its upper 8 bits. Grey values of more than 8 bits
(microscopes, depth cameras) seldom use their whole range, so they are spread from the darkest to
the brightest of each image, and ``notes`` says so. Of several pages the first is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from flexpose.errors import DataFormatError
from flexpose.frames.base import (
    CACHE_BYTES,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    ByteCache,
    check_index,
    natural_key,
)
from flexpose.io.base import DAMAGE, hush_pillow, image_size
from flexpose.io.coco import Notes
from flexpose.io.coco_read import read_coco

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")


class _ImageFiles:
    """A `FrameSource` of image files below a folder."""

    def __init__(
        self, root: Path, names: Sequence[str], description: str, notes: Notes, cache_bytes: int
    ) -> None:
        self.root = root
        self.names: Sequence[str] = tuple(names)
        self.description = description
        self._notes = notes
        self._noted: set[int] = set()
        self._cache: ByteCache[NDArray[np.uint8]] = ByteCache(cache_bytes)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes.sentences()

    def read(self, index: int) -> NDArray[np.uint8]:
        check_index(index, len(self.names))
        pixels = self._cache.get(index)
        if pixels is None:
            name = self.names[index]
            pixels, remarks = read_image(self.root / name)
            self._cache.put(index, pixels, pixels.nbytes)
            if index not in self._noted:
                self._noted.add(index)
                for remark in remarks:
                    self._notes.add(remark, name)
        return pixels

    def size(self, index: int) -> tuple[int, int]:
        check_index(index, len(self.names))
        pixels = self._cache.get(index)
        if pixels is not None:
            return pixels.shape[1], pixels.shape[0]
        return image_size(self.root / self.names[index])


class FolderFrames(_ImageFiles):
    """All images of a folder and the folders in it, in natural order.

    Opening walks the folder once and opens no file. Hidden files and folders do not count, nor do
    the folders of label projects and runs, whose pictures we have drawn ourselves.

    Raises
    ------
    DataFormatError : the folder cannot be read or holds no image.
    """

    def __init__(self, path: Path | str, *, cache_bytes: int = CACHE_BYTES) -> None:
        root = Path(path).absolute()
        notes = Notes()
        files = _files(root, notes)
        names = sorted((name for name in files if _suffix(name) in IMAGE_SUFFIXES), key=natural_key)
        if not names:
            raise DataFormatError(
                root,
                "",
                f"holds no images; looked for {', '.join(IMAGE_SUFFIXES)}, in its folders too.",
            )
        super().__init__(root, names, f"{_images(names)} in {root}", notes, cache_bytes)


class CocoFrames(_ImageFiles):
    """The images that a COCO keypoints file lists, in the order of the file.

    Parameters
    ----------
    image_root : folder that the names in the file are relative to; by default that of the file

    Raises
    ------
    DataFormatError : the file cannot be read, lists no images, or none of them is there.
    """

    def __init__(
        self,
        path: Path | str,
        image_root: Path | str | None = None,
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        path = Path(path).absolute()
        root = path.parent if image_root is None else Path(image_root).absolute()
        names = [image.name for image in read_coco(path).images]
        if not names:
            raise DataFormatError(path, "", "lists no images.")
        if not any((root / name).exists() for name in names):
            raise DataFormatError(
                path, "", f"none of its images lies in {root}.", "Name the folder of the images."
            )
        super().__init__(root, names, f"{_images(names)} of {path}", Notes(), cache_bytes)


def only_videos(path: Path) -> tuple[str, ...]:
    """Names of the videos below a folder, in natural order; none where it holds images too.

    Raises
    ------
    DataFormatError : the folder cannot be read.
    """
    videos = []
    for name in _files(path.absolute(), Notes()):
        if _suffix(name) in IMAGE_SUFFIXES:
            return ()
        if _suffix(name) in VIDEO_SUFFIXES:
            videos.append(name)
    return tuple(sorted(videos, key=natural_key))


def read_image(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Pixels of an image file, uint8 (H, W, 3) RGB, read-only, and remarks on what was changed.

    Raises
    ------
    DataFormatError : the file is missing or no image.
    """
    hush_pillow()
    try:
        # as an open file: Pillow maps paths into memory, and then turns TIFF images wrongly
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
            remarks = []
            if image.format in ("TIFF", "WEBP") and getattr(image, "is_animated", False):
                remarks.append("several pages; only the first is used")
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("I", "F") or upright.mode.startswith("I;"):
                remarks.append("more than 8 bits of grey; spread from the darkest to the brightest")
                grey = spread_to_bytes(np.asarray(upright))
                pixels = np.repeat(grey[..., None], 3, axis=2)
            else:
                pixels = np.asarray(upright.convert("RGB"))
    except UnidentifiedImageError as error:
        raise DataFormatError(path, "", "is not an image that can be read.") from error
    except OSError as error:
        if error.strerror:
            raise DataFormatError(path, "", f"cannot be read ({error.strerror}).") from error
        raise DataFormatError(path, "", f"is a damaged image ({error}).") from error
    except Image.DecompressionBombError as error:
        raise DataFormatError(path, "", f"is too large to be read ({error}).") from error
    except DAMAGE as error:
        raise DataFormatError(path, "", f"is a damaged image ({error}).") from error
    pixels.setflags(write=False)
    return pixels, tuple(remarks)


def spread_to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers of any kind and shape as uint8: the least becomes 0, the largest 255, NaN 0."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[finite].min()), float(values[finite].max())
    scale = 255 / (high - low) if high > low else 0.0
    shown = (np.where(finite, values, low).astype(np.float64) - low) * scale
    return np.round(shown).astype(np.uint8)


def _files(root: Path, notes: Notes) -> Iterator[str]:
    """Names of the files below a folder, links followed, but none that leads back to itself."""
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while pending:
        folder, above = pending.pop()
        try:
            found = os.stat(root / folder)
            with os.scandir(root / folder) as scan:
                entries = list(scan)
        except OSError as error:
            if not folder:
                raise DataFormatError(root, "", f"cannot be read ({error.strerror}).") from error
            notes.add("folder that cannot be read; left out", folder)
            continue
        identity = (found.st_dev, found.st_ino)
        if identity in above or (folder and _is_ours(folder, entries)):
            continue
        for entry in entries:
            name = folder + entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                pending.append((f"{name}/", above | {identity}))
            elif _fits_labels(entry.name):
                yield name
            else:
                notes.add("file name with a backslash or without Unicode; left out", repr(name))


def _is_ours(folder: str, entries: Sequence[os.DirEntry[str]]) -> bool:
    """Whether a folder is that of a label project or of a run."""
    return folder.endswith(".flexpose/") or any(entry.name == "events.jsonl" for entry in entries)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _fits_labels(name: str) -> bool:
    """Whether label files, which are UTF-8 with "/" between folders, give the name back."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\\" not in name


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _images(names: Sequence[str]) -> str:
    return "1 image" if len(names) == 1 else f"{len(names):,} images"
