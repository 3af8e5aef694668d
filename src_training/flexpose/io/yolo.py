"""A folder that YOLO's pose trainer reads: images, one text file of poses beside each, data.yaml.

A row of a text file is ``class cx cy w h`` and ``x y v`` for each joint, all lengths as shares of
the image's width and height, so 0 is its left or upper border and not the centre of a pixel. Joints
without a position are 0 0 0. Written only.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from types import TracebackType

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.io.base import atomic_write_bytes, atomic_write_text
from flexpose.io.coco import padded_boxes
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

_SUBSET = "train"


class YoloWriter:
    """Writes poses and their images into a new folder; complete at the end of the ``with``.

    Images keep their sub-folders and become PNG. An error or an early end leaves nothing behind.

    Parameters
    ----------
    folder : must not exist yet, or be empty
    poses : with image names; joints outside their image are moved to its border

    Raises
    ------
    DataFormatError : the folder is not empty or cannot be written, or two images would have the
        same text file.
    """

    def __init__(self, folder: Path | str, poses: PoseSet) -> None:
        self._folder = Path(folder)
        self._partial = self._folder.with_name(f"{self._folder.name}.partial")
        self._poses = poses
        names = poses.image_ids or ()
        self._rows = {
            name: [i for i, other in enumerate(names) if other == name]
            for name in dict.fromkeys(names)
        }
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise DataFormatError(folder, "", "exists and is not an empty folder.", "Name another.")
        stems: dict[str, str] = {}
        for name in self._rows:
            first = stems.setdefault(_stem(name), name)
            if first != name:
                raise DataFormatError(
                    folder, "", f"{first} and {name} would share one text file.", "Rename one."
                )

    def __enter__(self) -> YoloWriter:
        self._discard()
        for kind in ("images", "labels"):
            self._make(self._partial / kind / _SUBSET)
        return self

    def add(self, name: str, image: NDArray[np.uint8]) -> None:
        """Write one image, uint8 (H, W, 3) RGB, and its poses."""
        encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        self._write("images", f"{_stem(name)}.png", encoded.tobytes())
        rows = yolo_rows(self._poses[np.array(self._rows[name])])
        self._write("labels", f"{_stem(name)}.txt", "".join(f"{row}\n" for row in rows).encode())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                atomic_write_text(self._partial / "data.yaml", data_yaml(self._poses.skeleton))
                if self._folder.exists():
                    self._folder.rmdir()
                self._partial.replace(self._folder)
        except OSError as problem:
            raise _unwritable(self._folder, problem) from problem
        finally:
            self._discard()

    def _write(self, kind: str, name: str, data: bytes) -> None:
        path = self._partial / kind / _SUBSET / name
        self._make(path.parent)
        atomic_write_bytes(path, data)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise _unwritable(self._folder, problem) from problem

    def _discard(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


def yolo_rows(poses: PoseSet) -> list[str]:
    """One line a pose that has a labelled joint; see the module's docstring."""
    size = poses.image_size.astype(np.float64)[:, None]
    labelled = poses.labelled
    points = np.clip(np.nan_to_num(poses.keypoints.astype(np.float64)) + 0.5, 0, size)
    boxes = padded_boxes(points, labelled, poses.image_size).reshape(-1, 2, 2) / size
    middles = boxes[:, 0] + boxes[:, 1] / 2
    shares = np.where(labelled[..., None], points / size, 0)
    lines = []
    for row in np.flatnonzero(labelled.any(axis=1)):
        words = ["0", *_shares(middles[row]), *_shares(boxes[row, 1])]
        for place, seen in zip(shares[row], poses.visibility[row].tolist(), strict=True):
            words += [*_shares(place), str(seen)]
        lines.append(" ".join(words))
    return lines


def data_yaml(skeleton: Skeleton) -> str:
    """Text of ``data.yaml``; its folder is the root of the paths in it."""
    data = {
        "train": f"images/{_SUBSET}",
        "val": f"images/{_SUBSET}",
        "kpt_shape": [skeleton.num_joints, 3],
        "flip_idx": list(skeleton.flip_index),
        "names": {0: skeleton.category},
        "kpt_names": {0: list(skeleton.joints)},
    }
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return (
        f"# val names the same images as train: name others before you measure with them.\n{text}"
    )


def _shares(values: NDArray[np.floating]) -> list[str]:
    return [f"{value:.6f}" for value in values.tolist()]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _unwritable(folder: Path, problem: OSError) -> DataFormatError:
    return DataFormatError(folder, "", f"cannot be written ({problem.strerror or problem})")
