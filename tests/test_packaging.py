"""The wheel: what is in it, and that it works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {
    "flexpose": ROOT / "src_training" / "flexpose",
    "napari_flexpose": ROOT / "napari_flexpose",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The unpacked wheel of this checkout, as in site-packages."""
    pytest.importorskip("hatchling")
    built = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(built / "site")
    return built / "site"


def files_below(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_both_packages_and_nothing_else(installed):
    for name, source in SOURCES.items():
        assert files_below(installed / name) == files_below(source)
    others = {entry.name for entry in installed.iterdir()} - set(SOURCES)
    assert [name for name in others if not name.endswith(".dist-info")] == []


@pytest.mark.parametrize(
    "name",
    [
        "flexpose/skeletons/body15.yaml",
        "flexpose/priors/body15/meta.json",
        "flexpose/priors/body15/weights.safetensors",
        "napari_flexpose/napari.yaml",
    ],
)
def test_the_wheel_holds_data_files(installed, name):
    assert (installed / name).stat().st_size > 0


def test_the_manifest_in_the_wheel_is_a_file_with_the_top_level_text(installed):
    inner = installed / "napari_flexpose" / "napari.yaml"
    assert not inner.is_symlink()
    assert inner.read_bytes() == (ROOT / "napari.yaml").read_bytes()


def test_metadata_name_licence_and_entry_points(installed):
    (info,) = installed.glob("*.dist-info")
    distribution = PathDistribution(info)
    assert distribution.metadata["Name"] == "napari-flexpose"
    assert distribution.metadata["License-Expression"] == "BSD-3-Clause"
    assert (info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    found = {(entry.group, entry.name): entry.value for entry in distribution.entry_points}
    assert found == {
        ("console_scripts", "flexpose-train"): "flexpose.cli.__main__:main",
        ("napari.manifest", "napari-flexpose"): "napari_flexpose:napari.yaml",
    }


def test_the_wheel_works_without_the_checkout(installed, tmp_path):
    code = """
import flexpose, napari_flexpose
from importlib import resources
from flexpose.cli.__main__ import main
from flexpose.skeleton import load_skeleton, skeleton_names
for name in skeleton_names():
    load_skeleton(name)
assert (resources.files("napari_flexpose") / "napari.yaml").is_file()
assert main(["--help"]) == 0
print(flexpose.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(installed)},  # goes before an editable install
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(str(installed))
