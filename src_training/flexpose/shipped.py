"""Priors that come with the package, and what their descriptions say; without loading weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path


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
