"""The manifest, and what it points to: reader, writer, sample data."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

from flexpose.errors import DataFormatError
from flexpose.io.coco import write_coco
from flexpose.io.coco_read import read_coco
from napari_flexpose._reader import get_reader, read_keypoints
from napari_flexpose._writer import write_keypoints

MANIFEST = Path(__file__).parents[2] / "napari.yaml"


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


def test_every_command_can_be_imported(manifest):
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id


def test_every_contribution_names_a_command(manifest):
    found = manifest.contributions
    known = {command.id for command in found.commands}
    used = [*found.widgets, *found.readers, *found.writers, *found.sample_data]
    used += [item for items in found.menus.values() for item in items]
    assert {entry.command for entry in used} <= known


def test_every_menu_exists_in_napari(manifest):
    from napari._app_model.constants import MenuId

    assert set(manifest.contributions.menus) <= {menu.value for menu in MenuId.contributables()}


def test_settings_have_the_defaults_of_the_code(manifest):
    from napari_flexpose.widgets.main import DEFAULTS

    pages = manifest.contributions.configurations
    defaults = {
        page: {key: entry.default for key, entry in found.properties.items()}
        for page, found in pages.items()
    }
    assert defaults == DEFAULTS


def test_readers_claim_no_images(manifest):
    patterns = [p for reader in manifest.contributions.readers for p in reader.filename_patterns]
    assert patterns == ["*.coco.json", "*keypoints*.json"]


def test_what_is_read_is_written_again(puppet_poses, tmp_path):
    poses = puppet_poses(3)
    path = tmp_path / "poses.coco.json"
    write_coco(poses, path)
    assert get_reader(str(path)) is read_keypoints
    [(data, options, kind)] = read_keypoints(str(path))
    assert kind == "points"
    assert data.shape == (15, 3)
    np.testing.assert_allclose(data[0], [0, *poses.keypoints[0, 0, ::-1]], atol=0.01)
    assert options["features"]["joint"][:2] == ["hip", "head"]
    data[0, 1:] = (7, 5)
    copy = tmp_path / "copy.coco.json"
    assert write_keypoints(str(copy), data, options) == [str(copy)]
    again = read_coco(copy).poses
    assert again.skeleton.joints == poses.skeleton.joints
    np.testing.assert_allclose(again.keypoints[0, 0], (5, 7))
    np.testing.assert_allclose(again.keypoints[1:], poses.keypoints[1:], atol=0.01)
    np.testing.assert_array_equal(again.visibility, poses.visibility)


def test_layers_of_others_are_refused(tmp_path):
    with pytest.raises(DataFormatError, match="joint"):
        write_keypoints(str(tmp_path / "a.json"), np.zeros((2, 2)), {"metadata": {}})


def test_other_files_are_left_to_others(tmp_path):
    path = tmp_path / "keypoints.json"
    path.write_text("[1, 2]")
    assert get_reader(str(path)) is None
