from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from flexpose.errors import DataFormatError
from flexpose.io.base import DAMAGE, mat_names, read_mat
from flexpose.io.matfile import variables


def cell(*entries: Any) -> np.ndarray:
    found = np.empty((1, len(entries)), dtype=object)
    for number, entry in enumerate(entries):
        found[0, number] = entry
    return found


def contents() -> dict[str, Any]:
    struct = np.empty((2, 1), dtype=[("name", object), ("points", object)])
    struct["name"][:, 0] = ["first", "zweiter ä"]
    struct["points"][:, 0] = [np.arange(6.0).reshape(2, 3), cell(1.0, "x", np.zeros((0, 2)))]
    numbers = {
        f"n_{kind}": np.arange(12).reshape(2, 3, 2).astype(kind)
        for kind in ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
    }
    return {
        **numbers,
        "flags": np.array([[True, False]]),
        "text": "one text",
        "rows": np.array(["ab", "cd"]),
        "nothing": np.zeros((0, 0)),
        "cells": cell("a", np.ones(3), cell(2.0)),
        "struct": struct,
    }


def same(ours: Any, theirs: Any) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    assert ours.dtype.names == theirs.dtype.names
    if ours.dtype.names:
        for name in ours.dtype.names:
            same(ours[name], theirs[name])
    elif theirs.dtype == object:
        for one, other in zip(ours.ravel(), theirs.ravel(), strict=True):
            same(one, other)
    else:
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype.kind == theirs.dtype.kind


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_come_as_from_scipy(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, contents(), do_compression=compressed)
    expected = scipy.io.loadmat(path)
    found = dict(variables(path, expected))
    assert set(found) == set(contents())
    for name, value in found.items():
        same(value, expected[name])
    assert found["n_i2"].dtype == np.int16


def test_only_wanted_variables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, contents(), do_compression=True)
    assert mat_names(path) == set(contents())
    assert list(read_mat(path, ("text",))) == ["text"]
    assert {name for name, value in variables(path, ("text",)) if value is not None} == {"text"}


def test_numbers_keep_the_class_that_matlab_gives_them(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"x": np.array([[1.0, 2.0]])})
    data = bytearray(path.read_bytes())
    # whole numbers of class double are stored in as few bytes as they need: here as two of uint8
    at = data.index(np.array([1.0, 2.0]).tobytes())
    data[at - 8 : at + 16] = b"\x02\x00\x02\x00\x01\x02\x00\x00"
    size = int.from_bytes(data[132:136], "little") - 16
    data[132:136] = size.to_bytes(4, "little")
    path.write_bytes(data)
    x = read_mat(path, ("x",))["x"]
    assert x.dtype == np.float64
    assert x.tolist() == [[1, 2]]


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_bytes_never_leave_the_expected_errors(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, contents(), do_compression=compressed)
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    for _ in range(600):
        changed = bytearray(whole)
        for place in random.integers(128, len(whole), 2):
            changed[place] = random.integers(0, 256)
        path.write_bytes(changed)
        mat_names(path)
        with contextlib.suppress(*DAMAGE):
            dict(variables(path, contents()))


def test_what_is_not_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    for value in (np.array([[1j]]), scipy.sparse.eye_array(3, format="csc")):
        scipy.io.savemat(path, {"x": value})
        assert mat_names(path) == {"x"}
        with pytest.raises(DataFormatError, match=r"a\.mat: holds what is not read"):
            read_mat(path, ("x",))
    with pytest.raises(DataFormatError, match="y: the variable is missing"):
        read_mat(path, ("y",))
    path.write_bytes(b"no MATLAB")
    with pytest.raises(DataFormatError, match="damaged MATLAB file"):
        read_mat(path, ("x",))
