"""What comes with the package, by name: priors and their cards, presets, experiments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from flexpose.errors import CheckpointError, UnknownNameError


@dataclass(frozen=True)
class PriorCard:
    """What to know about a prior before choosing it.

    Attributes
    ----------
    name : as a config names it
    skeleton : plain data of its skeleton
    draws : whether it makes images, which beta reads, rather than keypoints
    notes : what it was trained on, one sentence each
    licence : of its weights
    """

    name: str
    skeleton: Mapping[str, Any]
    draws: bool
    notes: tuple[str, ...]
    licence: str


def shipped_priors() -> dict[str, Path]:
    """Folders of the checkpoints that come with the package, by name; regressors too."""
    folder = Path(str(resources.files("flexpose") / "priors"))
    return {p.parent.name: p.parent for p in sorted(folder.glob("*/meta.json"))}


def prior_cards() -> list[PriorCard]:
    """The shipped priors, those in keypoint space first: they are quicker."""
    found = (prior_card(name, folder) for name, folder in shipped_priors().items())
    return sorted((card for card in found if card is not None), key=lambda card: card.draws)


def prior_card(name: str, folder: Path) -> PriorCard | None:
    """The card of a checkpoint, or of a run's latest one; None when it is of another kind.

    Raises
    ------
    CheckpointError : there is none, or its description cannot be read.
    """
    try:
        if not (folder / "meta.json").is_file():
            latest = (folder / "checkpoints" / "latest").read_text(encoding="utf-8").strip()
            folder = folder / "checkpoints" / latest
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["kind"] != "prior":
            return None
        return PriorCard(
            name,
            meta["skeleton"],
            meta["config"]["generator"]["kind"] == "image",
            tuple(meta.get("notes", ())),
            meta["licence"],
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{folder} holds no prior that can be read ({error}).") from error


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
