"""The user guide: its pictures exist, and it names what the window names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from napari_flexpose.keymap import key_of

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "user-guide.md").read_text(encoding="utf-8")
PICTURES = sorted(set(re.findall(r"\((pictures/[^)]+)\)", GUIDE)))


def test_every_picture_is_shown_and_every_shown_one_exists():
    there = {f"pictures/{path.name}" for path in (DOCS / "pictures").iterdir()}
    assert there == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_fit_a_small_screen(name):
    with Image.open(DOCS / name) as picture:
        width, height = picture.size
    assert width <= 1280
    assert height <= 800


def test_steps_and_buttons_are_called_what_they_are():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in (DOCS.parent / "napari_flexpose").glob("**/*.py")
    )
    for words in (
        "Open folder…", "Open video…", "Open project…", "Suggest frames", "Copy last", "Template",
        "Use this model", "Keep the old one", "Stop early (keep)", "Save picture…", "Copy command",
        "Train detector", "The detector in use", "Another detector…", "Suggest poses again",
        "Quick look", "Usual", "Thorough", "What moves (camera at rest)", "The whole image",
        "Resume", "Leave it", "Exchange sides", "Sides along the clip", "Accept", "Reject", "Skip",
        "Back", "Accept many…", "Load predictions…", "Least sure first", "Most different first",
        "In order",
        "Labels and unreviewed suggestions, flagged", "Two files", "Generate and export",
        "Pictures from poses…", "Learn to paint", "Show others", "Learn anew…", "Export pictures",
    ):  # fmt: skip
        assert words in " ".join(GUIDE.split())
        assert f'"{words}"' in sources


def test_the_steps_are_told_in_their_order():
    headings = re.findall(r"^## \d+\. (.+)$", GUIDE, re.MULTILINE)
    assert headings == ["Open", "Label", "Adapt", "Detect", "Review", "Generate and export"]


def test_keys_of_reviewing_do_what_the_table_says():
    section = GUIDE.split("## 5. Review")[1].split("## 6.")[0]
    told = {
        key
        for line in re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
        for key in re.findall(r"`(.+?)`", line)
    }
    deciding = ("accept", "remove_suggestion", "following", "preceding")
    for action in (*deciding, "swap_sides", "carry_sides", "ask_for_many", "undo"):
        assert key_of(action) in told
