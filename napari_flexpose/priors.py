"""Priors of a project: which of them fit its skeleton, and learning another one. Without Qt.

The shipped priors know people. Whoever labels something else learns a prior from any poses of the
same joints, in a process of its own; it then stands beside the shipped ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from psygnal import Signal

from flexpose.configs.base import load_config
from flexpose.configs.prior import PriorConfig
from flexpose.errors import FlexPoseError, SkeletonMismatchError
from flexpose.events import JobEvent, JobFinished, MetricsReady, PreviewReady
from flexpose.geometry import tight_boxes
from flexpose.io.base import read_poses
from flexpose.mapping import find_mapping, map_poses
from flexpose.runs import numbered
from flexpose.shipped import PriorCard, prior_card, prior_cards
from flexpose.skeleton import Skeleton, load_skeleton, save_skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.process_runner import finished_runs, run_number, spare_processors
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.words import about, counted, of_hundred

LEARN = "train-prior"
FEWEST, GOOD = 16, 100
"""Poses without which nothing can be learned, and with which something may be."""
STEPS = 4000
"""Of learning, of few poses and of many: docs/priors.md has the trials."""
MEASURED_PACE = 1 / 25
"""Seconds a step of it on one processor core."""


@dataclass(frozen=True)
class PriorChoice:
    """A prior, and whether the project's labels can be told in its joints.

    Attributes
    ----------
    card : what its checkpoint says; its name is what configs take
    skeleton : its own
    learned : whether it was learned in this project
    lacks : its joints that the project's skeleton cannot give
    """

    card: PriorCard
    skeleton: Skeleton
    learned: bool
    lacks: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether it can be adapted to labels of the project."""
        return not self.lacks

    @property
    def words(self) -> str:
        """Its name for people."""
        if not self.learned:
            return self.card.name
        return f"{self.skeleton.name} (learned {run_number(Path(self.card.name))})"

    @property
    def details(self) -> str:
        """What to know before choosing it, a sentence a line."""
        lines = [] if self.fits else [f"Your skeleton lacks joints of it: {_some(self.lacks)}."]
        lines.append(f"Skeleton: {self.skeleton.name}")
        where = f"Run: {Path(self.card.name).name}"
        lines.append(where if self.learned else f"Licence: {self.card.licence}")
        return "\n".join([*lines, *self.card.notes])


@dataclass(frozen=True)
class FoundPoses:
    """A file that a prior can be learned from.

    Attributes
    ----------
    skeleton : the project's
    total, complete : poses in the file, and those of them that have every joint
    """

    path: Path
    skeleton: Skeleton
    total: int
    complete: int

    @property
    def words(self) -> str:
        """What was found, and how long learning takes."""
        time = about(MEASURED_PACE * STEPS)
        words = f"{self.path.name} has {counted(self.complete, 'complete pose')} of "
        words += f"{self.skeleton.name}. Learning takes {time} on one processor core."
        left = self.total - self.complete
        return f"{words} {left:,} without all joints are left out." if left else words

    @property
    def warning(self) -> str:
        """What speaks against learning from it, in one sentence; empty when nothing does."""
        if self.complete >= GOOD:
            return ""
        return "These are few: the prior will know little more than them. Some hundreds are better."


class PriorShelf:
    """The priors that the open project can choose from, and the learning of another.

    Attributes
    ----------
    choices : those that fit first; of these the latest learned, and shipped ones last
    preview : poses of the prior that is being learned, and its skeleton; None before the first
    outcome : what came of the learning that finished last, for people
    """

    changed = Signal()
    """There are other choices."""
    progressed = Signal()
    """There is another preview or outcome."""

    def __init__(self, session: FlexPoseSession, desk: JobDesk) -> None:
        self._session, self._desk = session, desk
        self._known: dict[str, tuple[PriorCard, Skeleton]] = {}
        self.choices: tuple[PriorChoice, ...] = ()
        self.preview: tuple[PreviewReady, Skeleton] | None = None
        self.outcome = ""
        self._folder: Path | None = None
        self._figures: Mapping[str, float] = {}
        desk.happened.connect(self._on_event)
        session.project_changed.connect(self._on_project)
        self._on_project()

    # ------------------------------------------------------------ which there are

    @property
    def first(self) -> PriorChoice | None:
        """What is chosen unless somebody chooses; None when no prior fits."""
        fitting = (choice for choice in self.choices if choice.fits)
        return next(fitting, None)

    @property
    def missing(self) -> str:
        """Why none can be chosen, in one sentence; empty when one can."""
        if self._session.project is None or self.first is not None:
            return ""
        known = dict.fromkeys(choice.skeleton.name for choice in self.choices)
        return (
            f"No prior fits the skeleton {self._session.skeleton.name}: those at hand are of "
            f"{_some([*known])}, with joints that yours does not have."
        )

    def find(self, prior: str) -> PriorChoice | None:
        """The choice that a config names, also when the project has moved since; None without."""
        gone = not Path(prior).exists()
        for choice in self.choices:
            moved = gone and choice.learned and Path(choice.card.name).name == Path(prior).name
            if choice.card.name == prior or moved:
                return choice
        return None if gone else self._choice(prior, Path(prior))

    def _list(self) -> None:
        """Look which there are now."""
        found = [self._choice(card.name, Path(card.name), card) for card in prior_cards()]
        if self._session.project is not None:
            runs = finished_runs(self._runs, LEARN)
            learned = (self._choice(str(run), run) for run in runs)
            found = [*learned, *found]
        present = [choice for choice in found if choice is not None]
        self.choices = tuple(sorted(present, key=lambda choice: not choice.fits))
        self.changed.emit()

    def _choice(self, name: str, folder: Path, card: PriorCard | None = None) -> PriorChoice | None:
        """What a checkpoint's folder holds; None when that is no prior."""
        if name not in self._known:
            with contextlib.suppress(FlexPoseError):
                card = card or prior_card(name, folder)
                if card is not None:
                    self._known[name] = card, Skeleton.from_dict(card.skeleton, folder)
        if name not in self._known:
            return None
        card, skeleton = self._known[name]
        lacks: tuple[str, ...] = ()
        learned = False
        if self._session.project is not None:
            lacks = find_mapping(self._session.skeleton, skeleton).missing
            learned = folder.parent == self._runs
        return PriorChoice(card, skeleton, learned, lacks)

    # ------------------------------------------------------------ learning another

    @property
    def learning(self) -> bool:
        """Whether a prior is being learned."""
        request = self._desk.request
        return request is not None and request.command == LEARN and self._desk.state != "idle"

    def examine(self, path: Path) -> FoundPoses:
        """What a file has that a prior could be learned from.

        Raises
        ------
        FlexPoseError : it cannot be read, lacks joints of the project's skeleton, or has next to
            no complete poses.
        """
        skeleton = self._session.skeleton
        poses = read_poses(path)
        try:
            mapped = map_poses(poses, skeleton)
        except SkeletonMismatchError as error:
            hint = f"Take a file whose poses have all joints of {skeleton.name}."
            raise SkeletonMismatchError(f"{path.name}: {error.message}", hint) from error
        complete = mapped[mapped.complete]
        extent = tight_boxes(complete.keypoints)[:, 2:].max(axis=1, initial=0)
        count = int(np.count_nonzero(extent))
        if count < FEWEST:
            raise FlexPoseError(
                f"{path.name} has {counted(count, 'complete pose')} of {skeleton.name}, of "
                f"{len(poses):,} in all; at least {FEWEST} are needed, better some hundreds.",
                "Take another file; poses need every joint.",
            )
        return FoundPoses(path, skeleton, len(poses), count)

    def learn(self, found: FoundPoses, device: str = "auto") -> None:
        """Learn a prior from what was found, in a process of its own.

        Raises
        ------
        FlexPoseError : another job runs, or the project's folder cannot be written.
        """
        if self._desk.busy:
            raise FlexPoseError(self._desk.busy, "Wait for it, or cancel it.")
        self._session.save()
        source = {
            "poses": found.path.absolute(),
            "skeleton": str(self._written(found.skeleton)),
            "min_side": 0,
        }
        given = {**learning_settings(), "source": source, "device": device}
        self.preview, self.outcome, self._figures = None, "", {}
        self._desk.start(LEARN, load_config(PriorConfig, overrides=given), self._runs)

    def _written(self, skeleton: Skeleton) -> Path:
        """The skeleton as a file of its own, so that later changes leave it alone."""
        path = numbered(self._session.opened_project().folder / "skeletons", "skeleton", ".yaml")
        save_skeleton(skeleton, path)
        return path

    # ------------------------------------------------------------ what happens

    def _on_event(self, event: JobEvent) -> None:
        request = self._desk.request
        if request is None or not isinstance(request.config, PriorConfig):
            return
        if isinstance(event, PreviewReady):
            with contextlib.suppress(FlexPoseError):  # the skeleton's file has gone: no picture
                self.preview = event, load_skeleton(request.config.source.skeleton)
            self.progressed.emit()
        elif isinstance(event, MetricsReady):
            self._figures = event.metrics
        elif isinstance(event, JobFinished):
            self._list()
            self.outcome = _outcome(self.find(str(request.run.path)), self._figures)
            self.progressed.emit()

    def _on_project(self) -> None:
        project = self._session.project
        folder = None if project is None else project.folder
        if folder != self._folder:  # and not only another skeleton or work list
            self._folder, self.preview, self.outcome = folder, None, ""
        self._list()

    @property
    def _runs(self) -> Path:
        return self._session.opened_project().folder / "runs"


def learning_settings() -> dict[str, Any]:
    """Settings of ``train-prior`` for a small computer; sizes are those of its defaults."""
    return {
        "steps": STEPS,
        "lr": 2e-3,
        "r1_gamma": 0.02,
        "preview_every": 100,
        "evaluate_every": STEPS,
        "checkpoint_every": 500,
        "threads": spare_processors(),
    }


def _outcome(choice: PriorChoice | None, figures: Mapping[str, float]) -> str:
    """How near a prior came to the poses that it learned from, in plain words."""
    if choice is None:
        return ""
    words = f"{choice.words} is ready."
    if not {"precision", "recall"} <= figures.keys():
        return words
    return (
        f"{words} {of_hundred(figures['precision'])} poses that it makes look like some of the "
        f"file, and it comes near {of_hundred(figures['recall'])} of these."
    )


def _some(names: Sequence[str], most: int = 4) -> str:
    """Names in a row; of many the first."""
    shown = [*names]
    if len(shown) > most:
        shown[most - 1 :] = [f"{len(shown) - most + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
