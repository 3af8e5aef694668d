from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.io.base import DAMAGE
from flexpose.io.pickled import load_plain, read_object

PLAIN: dict[str, Any] = {
    "S1": {
        "Directions 1": [np.arange(6.0, dtype="f4").reshape(1, 3, 2), np.ones((2, 3), order="F")]
    },
    "numbers": [1, -5, 10**12, 2.5, True, None, np.float64(1.5), np.int16(7)],
    "text": ("ä", b"bytes", np.array(["ab", "c"])),
    "swapped": np.arange(3, dtype=">i4"),
    "objects": np.array([{"a": 1}, [1, 2], None], dtype=object),
}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_plain_data_come_back(protocol: int) -> None:
    found = load_plain(pickle.dumps(PLAIN, protocol))
    np.testing.assert_equal(found, PLAIN)
    assert found["S1"]["Directions 1"][0].dtype == np.float32


@pytest.mark.parametrize("value", [print, os.system, Path("x"), {1, 2}, pytest.approx(1), 1j])
def test_everything_else_is_refused(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, data=np.array({"x": value}, dtype=object))
    with pytest.raises(DataFormatError, match=r"a\.npz, data: is damaged, or not plain"):
        read_object(path, "data")


def test_no_function_is_called(tmp_path: Path) -> None:
    made = tmp_path / "made"
    calls = f"cos\nmkdir\n(V{made}\ntR."  # what pickle.loads would run
    with pytest.raises(pickle.UnpicklingError, match=r"names os\.mkdir"):
        load_plain(b"\x80\x02" + b"cos\nmkdir\n." + calls.encode())
    assert not made.exists()


def test_damaged_bytes_never_leave_the_expected_errors() -> None:
    random = np.random.default_rng(3)
    for protocol in (2, 4):
        whole = pickle.dumps(PLAIN, protocol)
        for _ in range(1500):
            changed = bytearray(whole)
            for place in random.integers(0, len(whole), 2):
                changed[place] = random.integers(0, 256)
            with contextlib.suppress(*DAMAGE):
                load_plain(bytes(changed))


def test_arrays_that_are_no_object_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=np.zeros(3))
    with pytest.raises(DataFormatError, match=r"found shape \(3,\) of float64"):
        read_object(tmp_path / "a.npz", "data")
    with pytest.raises(DataFormatError, match="other: the array is missing"):
        read_object(tmp_path / "a.npz", "other")
    with pytest.raises(DataFormatError, match="cannot be read"):
        read_object(tmp_path / "absent.npz", "data")
