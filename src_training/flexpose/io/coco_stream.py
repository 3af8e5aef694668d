"""COCO keypoints of generated poses, any number of them in constant memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any, Self

from flexpose.errors import DataFormatError, SkeletonMismatchError
from flexpose.io.base import atomic_open
from flexpose.io.coco import (
    CocoAnnotation,
    CocoImage,
    Notes,
    annotation_entry,
    dumps,
    entry_line,
    header,
    image_entry,
    pose_fields,
    synthetic_name,
)
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

_SYNTHETIC = CocoAnnotation(source="synthetic", reviewed=False)


class CocoStreamWriter:
    """Writes poses without images, block by block, into one COCO file.

    Used in a ``with`` block: the file appears, complete, when the block ends, and not at all when
    the block is left by an error or an interrupt. Each pose gets an image entry of its own
    (``synthetic/000000001.png``, numbered from 1) and an annotation with the same number. The bytes
    are those that ``write_coco`` would write.

    Parameters
    ----------
    path : file to write
    skeleton : skeleton of all poses
    detail : provenance of all poses (``model``, ``seed``)
    history : lines on where the poses come from, oldest first
    info : entries of ``info``

    Attributes
    ----------
    count : poses written so far
    """

    def __init__(
        self,
        path: Path | str,
        skeleton: Skeleton,
        *,
        detail: CocoAnnotation = _SYNTHETIC,
        history: Sequence[str] = (),
        info: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.path = Path(path)
        self.skeleton = skeleton
        self.count = 0
        self._detail = detail
        self._header = header(skeleton, history, info)
        self._notes = Notes()
        self._stack = ExitStack()
        self._images: IO[bytes]
        self._annotations: IO[bytes]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the format forced so far, as from ``write_coco``."""
        return self._notes.sentences()

    def __enter__(self) -> Self:
        try:
            # files without a name: they vanish with the process, however it ends
            folder = self.path.resolve().parent
            self._images = self._stack.enter_context(tempfile.TemporaryFile(dir=folder))
            self._annotations = self._stack.enter_context(tempfile.TemporaryFile(dir=folder))
        except OSError as error:
            self._stack.close()
            raise self._failed(error) from error
        return self

    def append(self, poses: PoseSet) -> None:
        """Add a block of poses; a few thousand at a time are best.

        Raises
        ------
        SkeletonMismatchError : the poses have other joints.
        DataFormatError : the poses belong to images, or the disk is full.
        """
        if not poses.skeleton.same_layout(self.skeleton):
            raise SkeletonMismatchError(
                f"Cannot write poses of {poses.skeleton.name} into a file of {self.skeleton.name}."
            )
        if poses.image_ids is not None:
            raise DataFormatError(
                self.path, "", "found poses that belong to images.", "Use write_coco for them."
            )
        rows = pose_fields(poses, self._notes, first=self.count + 1)
        images, annotations = [], []
        for row, (width, height) in zip(rows, poses.image_size.tolist(), strict=True):
            if not row["num_keypoints"]:
                continue
            number = self.count + 1
            image = CocoImage(name=synthetic_name(number), width=width, height=height)
            images.append(entry_line(image_entry(image, number), self.count))
            entry = annotation_entry(number, number, row, self._detail)
            annotations.append(entry_line(entry, self.count))
            self.count = number
        try:
            self._images.write(b"".join(images))
            self._annotations.write(b"".join(annotations))
        except OSError as error:
            raise self._failed(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if error is None:
                self._join()

    def _join(self) -> None:
        with atomic_open(self.path) as file:
            file.write(b"{\n")
            for key, value in self._header.items():
                file.write(f"{dumps(key)}: {dumps(value)},\n".encode())
            for key, part in (("images", self._images), ("annotations", self._annotations)):
                file.write(f"{dumps(key)}: [".encode())
                part.seek(0)
                shutil.copyfileobj(part, file, 1 << 20)
                file.write(b"\n],\n" if key == "images" else b"\n]\n}\n")

    def _failed(self, error: OSError) -> DataFormatError:
        return DataFormatError(
            self.path,
            "",
            f"cannot be written ({error.strerror or error}).",
            "What was there before is unchanged.",
        )
