"""Zarr stores of large generated pose sets: grow block by block, read in parts.

A store is a Zarr v3 group with the arrays ``keypoints`` float32 (N, J, 2), ``visibility`` int8
(N, J), ``image_size`` int32 (N, 2) and, if asked for, ``images`` uint8 (N, H, W, 3), each a plain
array that napari or dask open lazily. Attributes: ``format``, ``version``, ``skeleton`` (the form
of the YAML files), ``source``, ``provenance``, ``length``.

``length`` counts the rows that are complete and is written last: what an interrupted ``append``
left behind lies beyond it, is never read, and is dropped when the store is next opened to write.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError, PoseShapeError, SkeletonMismatchError
from flexpose.io.base import Format
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton

if TYPE_CHECKING:
    import zarr

VERSION = 1
ROWS_PER_CHUNK = 4096
IMAGES_PER_CHUNK = 64
_FORMAT = "flexpose-pose-store"
# what zarr raises for stores that are incomplete or of another kind
_DAMAGE = (OSError, ValueError, TypeError, LookupError, RuntimeError, AttributeError)


class PoseStore:
    """An open store; made by ``create`` or ``open``.

    Attributes
    ----------
    path, skeleton : of the store
    keypoints, visibility, image_size : zarr arrays; rows beyond ``len(store)`` are not complete
    images : zarr array, or None
    provenance : what made the poses
    source : lines on where the poses come from
    """

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self._group = group
        attributes: Any = group.attrs.asdict()
        if attributes.get("format") != _FORMAT or attributes.get("version") != VERSION:
            found = f"{attributes.get('format')} {attributes.get('version')}"
            raise DataFormatError(
                path, "attributes", f"found the format {found}, expected {_FORMAT} 1"
            )
        with _part(path, "skeleton"):
            self.skeleton = Skeleton.from_dict(attributes["skeleton"], path)
        with _part(path, "attributes"):
            self.provenance: dict[str, Any] = attributes["provenance"]
            self.source: tuple[str, ...] = tuple(attributes["source"])
            self._length = int(attributes["length"])
        self.keypoints = self._array("keypoints")
        self.visibility = self._array("visibility")
        self.image_size = self._array("image_size")
        with _part(path, "images"):
            self.images = self._array("images") if "images" in group else None

    @classmethod
    def create(
        cls,
        path: Path | str,
        skeleton: Skeleton,
        *,
        image_shape: tuple[int, int] | None = None,
        provenance: Mapping[str, Any] = MappingProxyType({}),
        source: Sequence[str] = (),
    ) -> Self:
        """Start an empty store.

        Parameters
        ----------
        image_shape : (H, W) of skeleton images to keep beside the poses, or None
        provenance : plain data on what makes the poses (model, seed, config)

        Raises
        ------
        DataFormatError : there is something at ``path``, or it cannot be written.
        """
        import zarr

        path = Path(path)
        if path.exists():
            raise DataFormatError(path, "", "exists already.", "Choose another name.")
        rows, j = ROWS_PER_CHUNK, skeleton.num_joints
        # the fill value of visibility is refused by PoseSet: a lost chunk cannot pass as poses
        plan: list[tuple[str, tuple[int, ...], tuple[int, ...], str, float]] = [
            ("keypoints", (0, j, 2), (rows, j, 2), "float32", np.nan),
            ("visibility", (0, j), (rows, j), "int8", -1),
            ("image_size", (0, 2), (rows, 2), "int32", 0),
        ]
        if image_shape is not None:
            h, w = image_shape
            plan.append(("images", (0, h, w, 3), (IMAGES_PER_CHUNK, h, w, 3), "uint8", 0))
        attributes: dict[str, Any] = {
            "format": _FORMAT,
            "version": VERSION,
            "skeleton": skeleton.to_dict(),
            "provenance": dict(provenance),
            "source": list(source),
            "length": 0,
        }
        try:
            group = zarr.open_group(path, mode="w-", zarr_format=3)
            for name, shape, chunks, dtype, fill in plan:
                group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, fill_value=fill)
            group.attrs.update(attributes)
        except OSError as error:
            raise _unwritable(path, error) from error
        return cls(path, group)

    @classmethod
    def open(cls, path: Path | str, *, writable: bool = False) -> Self:
        """Open a store to read, or to append as well.

        Raises
        ------
        DataFormatError : there is no such store, or it is damaged.
        """
        import zarr

        path = Path(path)
        with _part(path, "zarr.json"):
            group = zarr.open_group(path, mode="r+" if writable else "r", zarr_format=3)
        store = cls(path, group)
        if writable:
            for array in store._arrays():
                with _part(path, array.basename):
                    array.resize((len(store), *array.shape[1:]))
        return store

    def __len__(self) -> int:
        return self._length

    def append(self, poses: PoseSet, images: NDArray[np.uint8] | None = None) -> None:
        """Add poses, and their skeleton images where the store keeps them.

        Parameters
        ----------
        poses : n poses of the store's skeleton; image names, groups, boxes and confidence are not
            kept
        images : uint8 (n, H, W, 3) RGB

        Raises
        ------
        SkeletonMismatchError : the poses have other joints.
        PoseShapeError : images are missing, not wanted, or of another shape.
        DataFormatError : the disk is full.
        """
        if not poses.skeleton.same_layout(self.skeleton):
            raise SkeletonMismatchError(
                f"Cannot add poses of {poses.skeleton.name} to a store of {self.skeleton.name}."
            )
        blocks: list[NDArray[Any]] = [poses.keypoints, poses.visibility, poses.image_size]
        if self.images is not None or images is not None:
            want = None if self.images is None else (len(poses), *self.images.shape[1:])
            have = None if images is None else images.shape
            if images is None or have != want or images.dtype != np.uint8:
                raise PoseShapeError(f"Found images of shape {have}, expected uint8 {want}.")
            blocks.append(images)
        stop = self._length + len(poses)
        try:
            for array, block in zip(self._arrays(), blocks, strict=True):
                array.resize((stop, *array.shape[1:]))
                array[self._length : stop] = block
            self._group.attrs["length"] = stop
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._length = stop

    def read(self, start: int = 0, stop: int | None = None) -> PoseSet:
        """Poses of complete rows from ``start`` up to ``stop``, as a slice takes them.

        Raises
        ------
        DataFormatError : a part of the store is lost or damaged.
        """
        rows = slice(*slice(start, stop).indices(self._length))
        with _part(self.path, "keypoints"):
            keypoints = np.asarray(self.keypoints[rows], dtype=np.float32)
        with _part(self.path, "visibility"):
            visibility = np.asarray(self.visibility[rows], dtype=np.int8)
        with _part(self.path, "image_size"):
            image_size = np.asarray(self.image_size[rows], dtype=np.int32)
        with _part(self.path, "arrays"):
            return PoseSet(
                skeleton=self.skeleton,
                keypoints=keypoints,
                visibility=visibility,
                image_size=image_size,
                source=self.source,
            )

    def _array(self, name: str) -> zarr.Array[Any]:
        with _part(self.path, name):
            array: Any = self._group[name]
            if array.shape[0] < self._length:
                raise ValueError(f"fewer than {self._length} rows")
        return array

    def _arrays(self) -> list[zarr.Array[Any]]:
        arrays = [self.keypoints, self.visibility, self.image_size]
        return arrays if self.images is None else [*arrays, self.images]


def write_store(poses: PoseSet, path: Path | str) -> None:
    """Write poses as a new store, in one step.

    Raises
    ------
    DataFormatError : ``path`` exists, cannot be written, or the poses have what a store cannot keep
        (image names, groups, boxes, confidence, reference lengths).
    """
    path = Path(path)
    if path.exists():
        raise DataFormatError(path, "", "exists already.", "Choose another name.")
    for name in ("image_ids", "groups", "confidence", "boxes", "norm_length"):
        if getattr(poses, name) is not None:
            problem = f"a Zarr store cannot keep the {name} of these poses."
            raise DataFormatError(path, "", problem, "Write .npz, which keeps everything.")
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        PoseStore.create(temporary, poses.skeleton, source=poses.source).append(poses)
        os.rename(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_store(path: Path) -> bool:
    """Whether the path is a folder with the metadata of a pose store."""
    try:
        metadata = json.loads((path / "zarr.json").read_bytes())
        return bool(metadata["attributes"]["format"] == _FORMAT)
    except (OSError, ValueError, TypeError, LookupError):
        return False


def _read_all(path: Path, *, image_root: Path | None = None) -> PoseSet:
    return PoseStore.open(path).read()


@contextmanager
def _part(path: Path, name: str) -> Iterator[None]:
    """Errors of what stands inside are those of a part of the store."""
    try:
        yield
    except DataFormatError as error:
        raise DataFormatError(path, error.where or name, error.problem, error.hint) from error
    except (PoseShapeError, *_DAMAGE) as error:
        raise DataFormatError(path, name, f"is missing or damaged ({error})") from error


def _unwritable(path: Path, error: OSError) -> DataFormatError:
    return DataFormatError(path, "", f"cannot be written ({error.strerror or error})")


FORMAT = Format(
    name="zarr",
    summary="FlexPose's Zarr store of generated poses",
    sniff=is_store,
    read=_read_all,
    write=write_store,
    suffix=".zarr",
    folder="a Zarr store of poses",
)
