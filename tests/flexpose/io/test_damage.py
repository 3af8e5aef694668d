"""What every format does with files that are whole, cut, damaged, or lack a part."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.lib.recfunctions import repack_fields

from flexpose.errors import DataFormatError, MissingDependencyError
from flexpose.io import formats, read_poses
from flexpose.io.hdf5 import is_hdf5, require_h5py
from flexpose.poseset import PoseSet

Samples = dict[str, tuple[Callable[[Path], Path], ...]]
every_format = pytest.mark.parametrize("name", sorted(formats()))
ROUNDS = 40
LINES = (".csv",)  # of texts with a pose a line, which can end anywhere
DATA_KEY = re.compile(r"S\d+|[A-Z][a-z]+( \d)?")  # subjects and actions of Human3.6M
JUNK = (
    b"\x00",
    b"\xff",
    b"-",
    b"nan",
    b"1e999",
    b"\n",
    b'"',
    b"[]",
    b"{}",
    b"99999999999",
    b"\xc3",
)


def written(samples: Samples, name: str, folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """What to read of each form of a format, and the files that it consists of."""
    for number, write in enumerate(samples[name]):
        place = folder / f"form{number}"
        place.mkdir()
        path = write(place)
        yield path, sorted(file for file in place.rglob("*") if file.is_file())


def read_or_refuse(name: str, path: Path, file: Path, placed: bool = False) -> PoseSet | None:
    """The poses, or None where the file is refused in a sentence that names it.

    ``placed`` asks for the place in the file, too.
    """
    formats()[name].sniff(path)
    try:
        return read_poses(path, name)
    except DataFormatError as error:
        assert file.name in str(error) or path.name in str(error), error
        assert "\n" not in str(error)
        assert error.where or not placed, error
        return None


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """The same file with some bytes changed, lost, added or repeated."""
    at, other = sorted(random.integers(0, len(data) + 1, 2).tolist())
    kind = random.integers(0, 7)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[other:]
    if kind == 2:
        return data[:other] + data[at:]
    if kind == 3:
        return data[:at] + bytes(min(8, other - at)) + data[at + min(8, other - at) :]
    changed = bytearray(data)
    if kind == 4:
        junk = JUNK[random.integers(0, len(JUNK))]
        changed[at : at + len(junk)] = junk
        return bytes(changed)
    for place in random.integers(0, len(data), kind - 4):
        changed[place] = random.integers(0, 256)
    return bytes(changed)


@every_format
def test_every_format_has_a_sample_of_its_own(name: str, samples: Samples, tmp_path: Path) -> None:
    assert samples.get(name), f"add a small true file of {name} to SAMPLES in conftest.py"
    for path, _ in written(samples, name, tmp_path):
        poses = read_poses(path)  # recognised, and by no other format
        assert isinstance(poses, PoseSet)
        assert len(poses) > 0
        assert poses.labelled.any()
        assert poses.source
        assert len(read_poses(path, name)) == len(poses)


@every_format
def test_damaged_files_are_read_or_refused(name: str, samples: Samples, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    for path, files in written(samples, name, tmp_path):
        for _ in range(ROUNDS):
            file = files[random.integers(0, len(files))]
            whole = file.read_bytes()
            file.write_bytes(damaged(whole, random))
            read_or_refuse(name, path, file)
            file.write_bytes(whole)


@every_format
def test_files_cut_short_are_refused_or_read_as_before(
    name: str, samples: Samples, tmp_path: Path
) -> None:
    for path, files in written(samples, name, tmp_path):
        before = formats()[name].read(path)
        for file in files:
            whole = file.read_bytes()
            for share in (0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
                file.write_bytes(whole[: int(share * len(whole))])
                after = read_or_refuse(name, path, file)
                if after is not None:
                    lines = file.suffix in LINES
                    rows = max(len(after) - 1, 0) if lines else len(before)
                    np.testing.assert_array_equal(after.keypoints[:rows], before.keypoints[:rows])
            file.write_bytes(whole)


@every_format
def test_a_missing_part_is_named_or_not_needed(name: str, samples: Samples, tmp_path: Path) -> None:
    """Each array, key and field, down to the innermost, taken away alone."""
    for path, files in written(samples, name, tmp_path):
        before = formats()[name].read(path)
        for file in files:
            whole = file.read_bytes()
            for part, rest in without_one(file):
                file.write_bytes(rest)
                after = read_or_refuse(name, path, file, placed=True)
                if after is not None:
                    np.testing.assert_array_equal(after.keypoints, before.keypoints, part)
            file.write_bytes(whole)


def without_one(file: Path) -> Iterator[tuple[str, bytes]]:
    """Each part of a file, and the file's content without it."""
    if file.suffix == ".json":
        for part, rest in lacking(json.loads(file.read_text())):
            yield part, json.dumps(rest).encode()
    elif file.suffix == ".pickle":
        for part, rest in lacking(pickle.loads(file.read_bytes())):
            yield part, pickle.dumps(rest, protocol=2)
    elif file.suffix in (".npz", ".mat", ".h5"):
        for part, rest in lacking(loaded(file)):
            yield part, packed(file, rest)


def lacking(value: Any) -> Iterator[tuple[str, Any]]:
    """Each key in nested dictionaries, lists and MATLAB's structures, and all without it."""
    for key in keys(value):
        rest = without(value, key)
        if rest is not None:
            yield key, rest
        for part, inner in lacking(value[key]):
            changed = copy.copy(value)
            changed[key] = inner
            yield part, changed


def keys(value: Any) -> list[Any]:
    """Where the parts of a value stand; nowhere in numbers and text."""
    if isinstance(value, (dict, list)):
        return list(value) if isinstance(value, dict) else list(range(len(value)))
    if isinstance(value, np.ndarray):
        cells = np.ndindex(value.shape) if value.dtype == object else ()
        return list(value.dtype.names or cells)
    return []


def without(value: Any, key: Any) -> Any:
    """A dictionary or structure that lacks a field; None for what are rows or clips of data."""
    if not isinstance(key, str) or DATA_KEY.fullmatch(key):
        return None
    if isinstance(value, dict):
        return {other: entry for other, entry in value.items() if other != key}
    others = [other for other in value.dtype.names if other != key]
    return repack_fields(value[others]) if others else None


@every_format
def test_arrays_of_another_shape_are_refused(name: str, samples: Samples, tmp_path: Path) -> None:
    """Each array of an ``.npz`` or ``.mat`` exchanged for others that fit nothing."""
    for path, files in written(samples, name, tmp_path):
        for file in files:
            whole, arrays = file.read_bytes(), loaded(file)
            for member, array in arrays.items():
                for value in odd(array):
                    file.write_bytes(packed(file, arrays | {member: value}))
                    read_or_refuse(name, path, file, placed=True)
            file.write_bytes(whole)


def odd(array: Any) -> Iterator[Any]:
    """Values that an array of a dataset cannot have."""
    yield from (np.zeros(0), np.zeros((3, 3, 3)), np.array("x"), np.array(5.0))
    if np.asarray(array).dtype.kind in "iuf":
        for wrong in (np.nan, np.inf, 1e300, -1e30, 65999997933453313, -1):
            changed = np.array(array, dtype=float)
            changed.flat[-1] = wrong
            yield changed
        yield np.array(array).astype(object)
        yield np.array(array).astype(str)
        yield np.array(array)[..., :-1]


def loaded(file: Path) -> dict[str, Any]:
    """Arrays by name of an ``.npz``, a ``.mat`` or an ``.h5``; of others none."""
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=True) as archive:
            return dict(archive)
    if is_hdf5(file):
        arrays: dict[str, Any] = {}
        with require_h5py().File(file) as opened:
            opened.visititems(
                lambda name, node: arrays.update({name: node[()]} if hasattr(node, "dtype") else {})
            )
        return arrays
    if file.suffix == ".mat":
        return {k: v for k, v in scipy.io.loadmat(file).items() if not k.startswith("__")}
    return {}


def packed(file: Path, arrays: dict[str, Any]) -> bytes:
    """Arrays in the form of a file."""
    buffer = io.BytesIO()
    if is_hdf5(file):
        header = file.read_bytes()[: 512 if file.suffix == ".mat" else 0]
        with require_h5py().File(buffer, "w", userblock_size=len(header)) as opened:
            for name, array in arrays.items():
                text = np.asarray(array).dtype.kind in "UO"
                opened[name] = np.asarray(array).astype("S") if text else array
        buffer.seek(0)
        buffer.write(header)
    elif file.suffix == ".mat":
        scipy.io.savemat(buffer, arrays)
    else:
        np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_a_folder_without_data_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataFormatError, match="is a folder without") as caught:
        read_poses(tmp_path)
    for word in ("annot.mat", "_info.mat", "joint_positions.mat", ".bvh", "S*/Landmarks"):
        assert word in str(caught.value)


@every_format
def test_a_wrong_folder_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataFormatError) as caught:
        read_poses(tmp_path, name)
    assert tmp_path.name in str(caught.value)
    assert "directory" not in str(caught.value)  # the system's own words


def test_a_folder_of_two_datasets_asks_for_the_format(samples: Samples, tmp_path: Path) -> None:
    samples["bvh"][0](tmp_path)
    samples["surreal"][0](tmp_path)
    with pytest.raises(DataFormatError, match="could be bvh or surreal"):
        read_poses(tmp_path)
    assert len(read_poses(tmp_path, "bvh")) == 8


def test_a_matlab_73_file_of_other_than_numbers_says_how_to_save_it(
    samples: Samples, tmp_path: Path
) -> None:
    path = samples["mpi3dhp"][3](tmp_path)
    path.write_bytes(packed(path, {"annot2": "text", "valid_frame": np.ones((3, 1))}))
    with pytest.raises(DataFormatError, match=r"annot2: is no array of numbers\. .*-v7"):
        read_poses(path)


def test_hdf5_without_its_package_says_what_to_install(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = samples["h36m"][4](tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    for path in (folder, folder / "S1" / "Directions-1" / "annot.h5"):
        with pytest.raises(MissingDependencyError, match="pip install h5py"):
            read_poses(path)


def test_an_hdf5_array_that_claims_more_than_it_holds_is_refused(
    samples: Samples, tmp_path: Path
) -> None:
    path = samples["mpi3dhp"][3](tmp_path)
    with require_h5py().File(path, "r+") as file:
        del file["annot2"]
        file.create_dataset("annot2", shape=(10**9, 1, 17, 2), dtype="f8", chunks=(1, 1, 17, 2))
    with pytest.raises(DataFormatError, match=r"annot2: has no data for its shape"):
        read_poses(path)
