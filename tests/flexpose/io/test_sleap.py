from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import PUPPET, puppet_keypoints

from flexpose.errors import DataFormatError, MissingDependencyError
from flexpose.io import sleap
from flexpose.io.sleap import write_sleap
from flexpose.poseset import PoseSet


@pytest.fixture
def poses(tmp_path: Path) -> PoseSet:
    names = ("a.png", "b.png")
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.zeros((200, 200, 3), np.uint8))
    return PoseSet.create(PUPPET, puppet_keypoints(2), (200, 200), image_ids=names)


def test_poses_come_back_with_names_edges_and_images(poses, tmp_path):
    sleap_io = pytest.importorskip("sleap_io")
    assert write_sleap(poses, tmp_path / "x.slp", tmp_path) == ()
    labels = sleap_io.load_slp(str(tmp_path / "x.slp"))
    skeleton = labels.skeletons[0]
    assert [node.name for node in skeleton.nodes] == list(PUPPET.joints)
    assert [tuple(pair) for pair in skeleton.edge_inds] == list(PUPPET.edges)
    points = np.array([frame.instances[0].numpy() for frame in labels])
    np.testing.assert_allclose(points, poses.keypoints, atol=1e-4)
    assert [Path(name).name for name in labels.videos[0].filename] == ["a.png", "b.png"]


def test_a_missing_image_is_named_and_nothing_is_left(poses, tmp_path):
    pytest.importorskip("sleap_io")
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataFormatError, match=r"b\.png"):
        write_sleap(poses, tmp_path / "x.slp", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_lost_occlusion_is_told(poses, tmp_path):
    pytest.importorskip("sleap_io")
    seen = np.array(poses.visibility)
    seen[0, 1] = 1
    notes = write_sleap(
        PoseSet(**{**poses.__dict__, "visibility": seen}), tmp_path / "x.slp", tmp_path
    )
    assert notes == ("SLEAP does not keep that 1 joints are occluded.",)


def test_without_the_package_the_error_says_what_to_install(poses, tmp_path, monkeypatch):
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(sleap.importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match="pip install sleap-io"):
        write_sleap(poses, tmp_path / "x.slp", tmp_path)
