"""What comes with the package, by name: priors and their cards, presets, experiments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from flexpose.errors import UnknownNameError


@dataclass(frozen=True)
class PriorCard:
    """What to know about a prior before choosing it.

    Attributes
    ----------
    name : as a config names it
    skeleton : name of its skeleton
    draws : whether it makes images, which beta reads, rather than keypoints
    notes : what it was trained on, one sentence each
    licence : of its weights
    """

    name: str
    skeleton: str
    draws: bool
    notes: tuple[str, ...]
    licence: str


def shipped_priors() -> dict[str, Path]:
    """Folders of the checkpoints that come with the package, by name; regressors too."""
    folder = Path(str(resources.files("flexpose") / "priors"))
    return {p.parent.name: p.parent for p in sorted(folder.glob("*/meta.json"))}


def prior_cards() -> list[PriorCard]:
    """The shipped priors, those in keypoint space first: they are quicker."""
    cards = []
    for name, folder in shipped_priors().items():
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["kind"] == "prior":
            cards.append(
                PriorCard(
                    name,
                    meta["skeleton"]["name"],
                    meta["config"]["generator"]["kind"] == "image",
                    tuple(meta.get("notes", ())),
                    meta["licence"],
                )
            )
    return sorted(cards, key=lambda card: card.draws)


def experiments() -> dict[str, Path]:
    """Experiments that `reproduce` knows by name."""
    folder = Path(str(resources.files("flexpose") / "experiments"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def preset(command: str, name: str) -> Path:
    """The file of a command's preset.

    Raises
    ------
    UnknownNameError : the command has no preset of this name.
    """
    folder = Path(str(resources.files("flexpose") / "presets"))
    known = {p.stem.removeprefix(f"{command}-"): p for p in folder.glob(f"{command}-*.yaml")}
    if name not in known:
        raise UnknownNameError(f"preset of {command}", name, known)
    return known[name]
