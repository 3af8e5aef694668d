"""A project of a three-joint bird, and what its tests do to it."""

from __future__ import annotations

import contextlib
import errno
import shutil

import pytest

from flexpose.annotation import label as edits
from flexpose.annotation.project import AnnotationProject
from flexpose.errors import AnnotationError, DataFormatError
from flexpose.skeleton import Skeleton

BIRD = Skeleton(
    name="bird",
    joints=("beak", "left_wing", "right_wing"),
    edges=((0, 1), (0, 2)),
    symmetric_pairs=((1, 2),),
)
LONGER = Skeleton(
    name="longer", joints=("tail", "left_wing", "right_wing", "beak"), edges=((3, 0), (3, 1))
)
SHORTER = Skeleton(name="shorter", joints=("beak", "left_wing"), edges=((0, 1),))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "walk.flexpose"


@pytest.fixture
def project(folder):
    made = AnnotationProject.create(folder, BIRD, folder.parent / "walk")
    yield made
    with contextlib.suppress(DataFormatError, AnnotationError):  # some tests break its files
        made.close()


def crashed(folder):
    """A copy of the project as a killed process would leave it, without the lock."""
    copy = folder.with_name(f"copy{len(list(folder.parent.iterdir()))}.flexpose")
    return shutil.copytree(folder, copy)


def labels_in(project):
    return {name: project.label(name) for name in project.names_with_labels}


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, label in expected.items():
        assert found[name].equals(label), name


def put(project, x, name="a.png", gesture=None):
    return project.edit({name: edits.place(project.label(name), 0, x, 1.0)}, f"x {x}", gesture)


def full_disk(*_args):
    raise OSError(errno.ENOSPC, "No space left on device")
