"""What every format does with files that are whole, cut, damaged, or lack a part."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from flexpose.errors import DataFormatError
from flexpose.io import formats, read_poses
from flexpose.poseset import PoseSet

Samples = dict[str, tuple[Callable[[Path], Path], ...]]
every_format = pytest.mark.parametrize("name", sorted(formats()))
ROUNDS = 40
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


def read_or_refuse(name: str, path: Path, file: Path) -> PoseSet | None:
    """The poses, or None where the file is refused in a sentence that names it."""
    formats()[name].sniff(path)
    try:
        return read_poses(path, name)
    except DataFormatError as error:
        assert file.name in str(error) or path.name in str(error), error
        assert "\n" not in str(error)
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
                if after is not None and file.suffix != ".csv":  # lines of which end anywhere
                    np.testing.assert_array_equal(after.keypoints, before.keypoints)
            file.write_bytes(whole)


@every_format
def test_a_missing_array_is_named(name: str, samples: Samples, tmp_path: Path) -> None:
    for path, files in written(samples, name, tmp_path):
        for file in files:
            for member, rest in without_one(file):
                whole = file.read_bytes()
                file.write_bytes(rest)
                try:
                    formats()[name].read(path)
                except DataFormatError as error:
                    assert member in str(error) or "is missing" in str(error), error
                    assert file.name in str(error)
                file.write_bytes(whole)


def without_one(file: Path) -> Iterator[tuple[str, bytes]]:
    """Each array of an ``.npz`` or ``.mat`` and the file's content without it."""
    buffer = io.BytesIO()
    if file.suffix == ".mat":
        arrays = {k: v for k, v in scipy.io.loadmat(file).items() if not k.startswith("__")}
        for member in arrays:
            buffer = io.BytesIO()
            rest = {key: value for key, value in arrays.items() if key != member}
            scipy.io.savemat(buffer, rest)
            yield member, buffer.getvalue()
    if file.suffix == ".npz":
        with zipfile.ZipFile(file) as archive:
            parts = {entry: archive.read(entry) for entry in archive.namelist()}
        for member in parts:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for entry, data in parts.items():
                    if entry != member:
                        archive.writestr(entry, data)
            yield member.removesuffix(".npy"), buffer.getvalue()


@every_format
def test_arrays_of_another_shape_are_refused(name: str, samples: Samples, tmp_path: Path) -> None:
    """Each array of an ``.npz`` or ``.mat`` exchanged for others that fit nothing."""
    for path, files in written(samples, name, tmp_path):
        for file in files:
            whole = file.read_bytes()
            for member, arrays in loaded(file):
                for value in odd(arrays[member]):
                    saved(file, arrays | {member: value})
                    read_or_refuse(name, path, file)
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


def loaded(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    arrays: dict[str, Any] = {}
    if file.suffix == ".mat":
        arrays = {k: v for k, v in scipy.io.loadmat(file).items() if not k.startswith("__")}
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=True) as archive:
            arrays = dict(archive)
    for member in arrays:
        yield member, arrays


def saved(file: Path, arrays: dict[str, Any]) -> None:
    if file.suffix == ".mat":
        scipy.io.savemat(file, arrays)
    else:
        np.savez(file, **arrays)


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


def test_a_matlab_73_file_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "annot_data.mat"
    path.write_bytes(
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(99)
    )
    for name in (None, "mpi3dhp", "lsp"):
        with pytest.raises(DataFormatError, match=r"MATLAB 7\.3 file.*-v7"):
            read_poses(path, name)
