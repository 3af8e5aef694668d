"""Who may import whom, and what a fresh interpreter loads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "safetensors", "napari", "qtpy", "PyQt5", "PyQt6", "PySide6", "sleap_io")
NUMPY_ZONE = (
    "flexpose.annotation.project",
    "flexpose.cli.__main__",
    "flexpose.cli.tools",
    "flexpose.commands",
    "flexpose.configs.base",
    "flexpose.evaluation",
    "flexpose.events",
    "flexpose.frames",
    "flexpose.geometry",
    "flexpose.io",
    "flexpose.jobs",
    "flexpose.mannequin",
    "flexpose.mapping",
    "flexpose.mixup",
    "flexpose.poseset",
    "flexpose.rendering.raster",
    "flexpose.shipped",
    "flexpose.suggestion",
    "flexpose.runs",
    "flexpose.skeleton",
)


def fresh(code, *words, cwd):
    """Run code in a new interpreter; what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    assert not list(Path(cwd).iterdir()), "importing wrote files"
    return done.stdout


def test_import_contracts_hold():
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_numpy_zone_loads_neither_torch_nor_a_gui(tmp_path):
    code = f"""
import importlib, sys
for name in {NUMPY_ZONE!r}:
    importlib.import_module(name)
    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]
    assert not loaded, (name, loaded)
"""
    fresh(code, cwd=tmp_path)


HELP = f"""
import sys, time
from flexpose.cli.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
assert code == 0, code
assert not [heavy for heavy in {HEAVY!r} if heavy in sys.modules]
print(time.process_time())
"""


@pytest.mark.parametrize("words", [["--help"], ["evaluate", "distribution", "--help"]])
def test_help_is_quick_and_free_of_torch(words, tmp_path):
    shown = fresh(HELP, *words, cwd=tmp_path)
    assert "usage: flexpose-train" in shown
    # CPU time: other work on the machine is no fault of ours
    assert float(shown.splitlines()[-1]) < 1


def test_the_manifest_in_the_package_is_the_one_at_the_top():
    top, inner = ROOT / "napari.yaml", ROOT / "napari_flexpose" / "napari.yaml"
    # a checkout on Windows may turn the link into a copy or into text
    assert inner.resolve() == top.resolve() or inner.read_bytes() == top.read_bytes()
