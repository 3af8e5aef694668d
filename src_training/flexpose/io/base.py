"""What all pose formats share, and the recipe for a new one.

To add a format, put one module into this folder and give it a constant ``FORMAT``::

    FORMAT = Format(
        name="mydata",                        # what users type
        summary="my dataset, one csv a clip", # one line for lists of formats
        sniff=is_mydata,                      # (path) -> bool, cheap, never raises
        read=read_mydata,                     # (path, *, image_root=None) -> PoseSet
    )

``read`` subtracts the format's pixel offset, so that (0, 0) is the centre of the top-left pixel,
sets ``groups`` where the data know clips or activities, says in ``PoseSet.source`` what it did, and
lets nothing but ``DataFormatError`` out for a file that is missing, cut short or of another kind
(``read_text``, ``read_npz`` and ``read_mat`` below and ``read_hdf5`` see to that). A format that is
read from folders says in ``folder=`` what they hold (``files_below`` finds it); one that can be
written adds ``write=`` and ``suffix=``. The rest is found by itself: ``read_poses`` asks every
``sniff``. Add a tiny file to the ``SAMPLES`` of ``tests/flexpose/io/conftest.py``, which are then
cut and damaged, and a row to ``docs/data-formats.md``.
"""

from __future__ import annotations

import fnmatch
import importlib
import math
import os
import pickle
import pkgutil
import secrets
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import DataFormatError, PoseShapeError, UnknownNameError
from flexpose.io import matfile
from flexpose.io.hdf5 import hdf5_names, is_hdf5, read_hdf5, require_h5py
from flexpose.poseset import PoseSet


class Reader(Protocol):
    """Reads one file (or folder) of a format; ``image_root`` is where its images lie."""

    def __call__(self, path: Path, *, image_root: Path | None = None) -> PoseSet: ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format of poses.

    Attributes
    ----------
    name : what users type
    summary : one line for lists
    sniff : whether a file looks like this format; cheap, never raises
    read : file to poses
    write : poses to file, or None
    suffix : file suffix that chooses this format for writing; empty for none
    folder : what a folder of this format holds, in words; empty for formats of single files
    refines : name of a general format whose files this one reads better; it then goes first
    """

    name: str
    summary: str
    sniff: Callable[[Path], bool]
    read: Reader
    write: Callable[[PoseSet, Path], Sequence[str] | None] | None = None
    suffix: str = ""
    folder: str = ""
    refines: str = ""


@cache
def formats() -> dict[str, Format]:
    """All formats by name: the ``FORMAT`` of each module of this package that has one."""
    import flexpose.io as package

    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"flexpose.io.{name}") for name in names]
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def read_poses(
    path: Path | str,
    format: str | None = None,  # noqa: A002 (the word users look for)
    *,
    image_root: Path | str | None = None,
) -> PoseSet:
    """Read poses from a file or folder of any known format.

    Parameters
    ----------
    format : name of the format; recognised from the file when not given
    image_root : folder of the images, for formats that do not store image sizes

    Raises
    ------
    DataFormatError : the file is missing, damaged, of no known format or of several.
    MissingDependencyError : it is HDF5 or MATLAB 7.3, and h5py is not installed.
    UnknownNameError : ``format`` is not the name of a format.
    """
    path = Path(path)
    root = None if image_root is None else Path(image_root)
    if not path.exists():
        raise DataFormatError(path, "", "does not exist")
    entry = recognised(path) if format is None else _format(format)
    if path.is_dir() and not entry.folder and not entry.sniff(path):
        raise DataFormatError(
            path, "", f"is a folder, expected a file of the format {entry.name!r}"
        )
    try:
        return entry.read(path, image_root=root)
    except PoseShapeError as error:
        raise DataFormatError(path, "", f"its poses are damaged ({error})") from error


def recognised(path: Path) -> Format:
    """The one format that a file or folder has.

    Raises
    ------
    DataFormatError : it is damaged, of no known format or of several.
    MissingDependencyError : it is HDF5 or MATLAB 7.3, and h5py is not installed.
    """
    fitting = [entry for entry in formats().values() if entry.sniff(path)]
    better = {entry.refines for entry in fitting}
    fitting = [entry for entry in fitting if entry.name not in better]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        problem = f"could be {' or '.join(entry.name for entry in fitting)}."
    elif path.is_dir():
        known = [f"{entry.folder} ({entry.name})" for entry in formats().values() if entry.folder]
        problem = f"is a folder without anything that is read; expected {', '.join(known)}."
    else:
        if is_hdf5(path):
            require_h5py()
        problem = f"is damaged or of no known format; known formats: {', '.join(formats())}."
    raise DataFormatError(path, "", problem, "Name the format if you know it.")


def write_poses(
    poses: PoseSet,
    path: Path | str,
    format: str | None = None,  # noqa: A002
) -> tuple[str, ...]:
    """Write poses, by default in the format of the suffix (``.json``, ``.npz``, ``.zarr``).

    Returns
    -------
    one sentence for each kind of change that the format forced, such as clipped joints

    Raises
    ------
    DataFormatError : no format belongs to the suffix, or the file cannot be written.
    UnknownNameError : ``format`` is not the name of a format.
    """
    path = Path(path)
    writable = {f.suffix: f for f in formats().values() if f.write is not None}
    entry = _format(format) if format is not None else writable.get(path.suffix.lower())
    if entry is None or entry.write is None:
        raise DataFormatError(
            path, "", f"cannot be written; expected a name that ends in {', '.join(writable)}"
        )
    return tuple(entry.write(poses, path) or ())


def _format(name: str) -> Format:
    if name not in formats():
        raise UnknownNameError("format", name, formats())
    return formats()[name]


# ---------------------------------------------------------------- writing


@contextmanager
def atomic_open(path: Path | str, *, backup: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` only once it is complete.

    An error or interrupt on the way leaves the old file whole and nothing else behind.

    Parameters
    ----------
    backup : keep what was there as ``<name>.bak``; for labels

    Raises
    ------
    DataFormatError : the file cannot be written.
    """
    target = Path(os.path.realpath(path))  # a link goes on pointing at the labels
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if backup and target.exists():
            atomic_write_bytes(target.with_name(target.name + ".bak"), target.read_bytes())
        os.replace(temporary, target)
    except OSError as error:
        raise DataFormatError(
            path,
            "",
            f"cannot be written ({error.strerror or error}).",
            "What was there before is unchanged.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: Path | str, data: bytes, *, backup: bool = False) -> None:
    """Write a whole file or none of it; see ``atomic_open``."""
    with atomic_open(path, backup=backup) as file:
        file.write(data)


def atomic_write_text(path: Path | str, text: str, *, backup: bool = False) -> None:
    """Write a whole UTF-8 file or none of it; see ``atomic_open``."""
    atomic_write_bytes(path, text.encode("utf-8"), backup=backup)


# ---------------------------------------------------------------- reading

DAMAGE = (  # what numpy, zipfile and Pillow raise for files cut short or of another kind
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    AttributeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    tokenize.TokenError,  # numpy reads the headers of arrays as Python
)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises
    ------
    DataFormatError : the file cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DataFormatError(path, f"byte {error.start}", "is not UTF-8 text") from error


def npz_names(path: Path) -> frozenset[str]:
    """Names of the arrays in an ``.npz``; empty when the file is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return frozenset()


def read_npz(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the named arrays of an ``.npz`` file.

    Raises
    ------
    DataFormatError : the file is missing, damaged, or lacks one of the arrays.
    """
    found = {}
    name = ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in names:
                if name not in archive:
                    raise DataFormatError(path, name, "the array is missing")
                found[name] = archive[name]
    except OSError as error:
        raise _unreadable(path, error) from error
    except DAMAGE as error:
        raise DataFormatError(path, name, f"is damaged, or no .npz file ({error})") from error
    return found


def npz_first(path: Path, name: str) -> Any:
    """First entry of the array ``name`` of an ``.npz``, read without the rest; None without one."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, dtype = npy_header(file)
            data = file.read(dtype.itemsize) if math.prod(shape) else b""
            return None if dtype.hasobject or not data else np.frombuffer(data, dtype, count=1)[0]
    except (OSError, *DAMAGE):
        return None


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array whose ``.npy`` text is open at its start."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def mat_names(path: Path) -> frozenset[str]:
    """Names of the variables of a MATLAB file; empty when the file is none."""
    if path.suffix.lower() != ".mat":
        return frozenset()
    if is_hdf5(path):
        return hdf5_names(path)
    try:
        return frozenset(name for name, _ in matfile.variables(path, ()))
    except (OSError, *DAMAGE):
        return frozenset()


def read_mat(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read the named variables of a MATLAB file; see ``flexpose.io.matfile``.

    Of version 7.3, which is HDF5 with the axes in reverse order, only arrays of numbers are read.

    Raises
    ------
    DataFormatError : the file is missing, damaged, or lacks one of the variables.
    MissingDependencyError : it is of version 7.3, and h5py is not installed.
    """
    if is_hdf5(path):
        hint = "Save it again in MATLAB with the option -v7."
        return {name: array.T for name, array in read_hdf5(path, names, hint).items()}
    try:
        content = dict(matfile.variables(path, names))
    except NotImplementedError as error:
        raise DataFormatError(path, "", f"holds what is not read ({error})") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    except DAMAGE as error:
        raise DataFormatError(path, "", f"is a damaged MATLAB file ({error})") from error
    for name in names:
        if name not in content:
            raise DataFormatError(path, name, "the variable is missing")
    return {name: content[name] for name in names}


FAR = 1e6
"""No position of an image or a body is as far from the origin, in pixels or millimetres."""


def check_positions(path: Path, name: str, array: NDArray[Any]) -> None:
    """Refuse positions that are not finite or too large to be true."""
    if not (np.abs(array) < FAR).all():
        problem = f"found positions that are not finite numbers, or beyond {FAR:g}"
        raise DataFormatError(path, name, problem)


def check_array(
    path: Path, name: str, array: NDArray[Any], shape: Sequence[int | None], kinds: str = "iuf"
) -> None:
    """Refuse an array of a file whose shape (None: any length) or kind of numbers is wrong."""
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise DataFormatError(path, name, f"found shape {array.shape}, expected ({wanted})")
    if array.dtype.kind not in kinds:
        raise DataFormatError(path, name, f"found values of type {array.dtype}, expected others")


_ENTRIES = 50_000
"""Entries of a folder that are looked at before it counts as one without the files wanted."""


def has_below(folder: Path, pattern: str) -> bool:
    """Whether a folder or one below it has a file whose name fits; looks at a part of huge ones."""
    looked = 0
    for _, names, files in os.walk(folder):
        if fnmatch.filter(files, pattern):
            return True
        looked += len(names) + len(files)
        if looked > _ENTRIES:
            return False
    return False


def files_below(folder: Path, pattern: str) -> list[Path]:
    """All files in a folder and below whose name fits, sorted.

    Raises
    ------
    DataFormatError : there is none, or the folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    found = [
        Path(parent) / name
        for parent, _, files in os.walk(folder, onerror=refuse)
        for name in fnmatch.filter(files, pattern)
    ]
    if not found:
        raise DataFormatError(folder, "", f"is a folder without a file {pattern}")
    return sorted(found)


def _unreadable(path: Path, error: OSError) -> DataFormatError:
    return DataFormatError(path, "", f"cannot be read ({error.strerror or error})")


# ---------------------------------------------------------------- images


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of an image file, after the rotation that its EXIF data ask for.

    Reads the header only, unless a PNG file has such data behind its pixels.

    Raises
    ------
    DataFormatError : the file is missing or no image.
    """
    from PIL import ExifTags, Image, UnidentifiedImageError  # few readers need it

    hush_pillow()
    try:
        with path.open("rb") as file:
            late = _has_late_metadata(file)
            file.seek(0)
            with Image.open(file) as image:
                if late:
                    image.load()
                # not that of PNG files, which always loads the pixels
                exif = Image.Image.getexif(image)
                # Pillow has turned the size of TIFF files already, or not, depending on its version
                tags = getattr(image, "tag_v2", {})
                width = int(tags.get(ExifTags.Base.ImageWidth, image.width))
                height = int(tags.get(ExifTags.Base.ImageLength, image.height))
    except UnidentifiedImageError as error:
        raise DataFormatError(path, "", "is not an image that can be read") from error
    except (OSError, *DAMAGE, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise _unreadable(path, error) from error
        raise DataFormatError(path, "", f"is not an image that can be read ({error})") from error
    turned = exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


@cache
def hush_pillow() -> None:
    """Keep what Pillow thinks of odd image files off the terminal, for the whole process.

    Such as that an image is large or its palette transparent: the images are the user's own, who
    can do nothing about it, and what cannot be read is an error. For the whole process, because
    images are read in threads, where ``warnings.catch_warnings`` is not safe.
    """
    from PIL import Image

    for category in (UserWarning, Image.DecompressionBombWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")


def _has_late_metadata(file: BinaryIO) -> bool:
    """Whether a file is a PNG that may ask for a rotation behind its pixels."""
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        return False
    pixels = False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if pixels and kind in (b"eXIf", b"iTXt"):
            return True
        pixels = pixels or kind == b"IDAT"
        file.seek(length + 4, os.SEEK_CUR)  # its content and checksum
    return False


def sizes_of_images(
    names: Sequence[str], keypoints: NDArray[np.floating], image_root: Path | None
) -> tuple[NDArray[np.int32], str]:
    """Image sizes for formats that do not store them, and a line of provenance.

    Parameters
    ----------
    names : N image names relative to ``image_root``
    keypoints : float (N, J, 2), pixels; NaN where not labelled
    image_root : folder of the images; without it an image is taken to be just large enough for
        all joints in it

    Returns
    -------
    int32 (N, 2) width, height in pixels; and what was done, in words
    """
    sizes: dict[str, tuple[int, int]] = {}
    if image_root is not None:
        sizes = {name: image_size(image_root / name) for name in dict.fromkeys(names)}
        note = "image sizes from the files"
    else:
        extent = np.fmax(np.fmax.reduce(keypoints, axis=1), 0)
        for name, (x, y) in zip(names, np.nan_to_num(extent), strict=True):
            width, height = sizes.get(name, (1, 1))
            sizes[name] = (max(width, math.floor(x) + 1), max(height, math.floor(y) + 1))
        note = "image sizes unknown: the smallest that hold all joints"
    return np.array([sizes[name] for name in names], dtype=np.int32).reshape(-1, 2), note


def seen_inside(
    keypoints: NDArray[np.floating], image_size: NDArray[np.integer]
) -> NDArray[np.int8]:
    """Visibility (N, J) of joints that are all labelled: 2 inside the image, 1 outside, 0 NaN.

    What lies outside the image was placed by the annotator's or a model's guess.
    """
    size = np.asarray(image_size).reshape(-1, 1, 2)
    inside = ((keypoints >= -0.5) & (keypoints <= size - 0.5)).all(axis=2)
    labelled = np.isfinite(keypoints).all(axis=2)
    return np.where(labelled, np.where(inside, 2, 1), 0).astype(np.int8)
