"""Detectors of labelled pictures: what they learn from, where they start, how hard poses are.

For rows of ``uda`` and ``finetune``. What cells share is made first: the labels of sources and
targets as files in one skeleton, a Pose VAE of each source where difficulty is asked for, and the
detectors that rows start from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flexpose.difficulty import quantile_bins
from flexpose.errors import ConfigError
from flexpose.experiments.domains import (
    below,
    digest_of,
    frames_folder,
    joined,
    load_target,
    plain,
)
from flexpose.geometry import normalised
from flexpose.io.base import read_poses, write_poses
from flexpose.jobs import CancelToken
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton
from flexpose.training.pose_vae import difficulty

if TYPE_CHECKING:
    from flexpose.experiments.cells import Bench, Cell

Job = tuple[str, Path, dict[str, Any]]
"""Command, run folder, settings."""

_DATA = "{data}/"


class Lessons:
    """The pictures of an experiment, and the detectors that learn them."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._bins: dict[tuple[str, str], NDArray[np.intp]] = {}

    # ------------------------------------------------------------ what cells share

    def of_source(self, name: str) -> Iterator[Job]:
        """Write the labels of a source; then the job that learns which of its poses are usual."""
        bench, spec = self.bench, self.bench.scale.sources[name]
        assert spec.pictures is not None
        skeleton = load_skeleton(bench.skeleton_name(spec))
        made = bench.made(f"{name} pictures")
        if not self._labels(name).exists():
            domain = load_target(name, spec.pictures, bench.config.data, skeleton, made, True)
            made.mkdir(parents=True, exist_ok=True)
            write_poses(PoseSet.concat([domain.train, domain.test]), self._labels(name))
        if self._graded:
            source = {"poses": self._labels(name), "min_side": 0}
            settings = joined({"source": source}, spec.train)
            yield "train-vae", self._vae(name), settings

    def starts(self) -> Iterator[Job]:
        """Write the labels of targets; then the detectors that cells start from."""
        bench = self.bench
        for name in dict.fromkeys(cell.target for cell in bench.cells):
            target = bench.target(name)
            for part, poses in (("train", target.train), ("test", target.test)):
                path = self._part(name, part)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_poses(poses, path)
        known = set()
        for cell in bench.cells:
            settings, folder = self.start(cell)
            if folder is not None and folder not in known:
                known.add(folder)
                yield settings["command"], folder, self._of_start(cell, settings)

    @property
    def _graded(self) -> bool:
        """Whether it has to be known how hard poses are."""
        rows = self.bench.spec.rows
        drawn = any(row.settings.get("sampling", "uniform") != "uniform" for row in rows)
        return drawn or self.bench.spec.figure == "bins"

    def _labels(self, source: str) -> Path:
        return self.bench.made(f"{source} pictures") / "labels.npz"

    def _vae(self, source: str) -> Path:
        spec = self.bench.scale.sources[source]
        return self.bench.out / "vae" / f"{plain(source)}-{digest_of(spec)}"

    def _part(self, target: str, part: str) -> Path:
        return self.bench.out / "targets" / plain(target) / f"{part}.npz"

    # ------------------------------------------------------------ settings

    def start(self, cell: Cell) -> tuple[dict[str, Any], Path | None]:
        """Command and settings of what a cell starts from, and its folder; none when it has none.

        Raises
        ------
        ConfigError : a row of finetune has no start.
        """
        scale, row = self.bench.scale, self.bench.row(cell)
        spec = scale.starts.get(row.start or "")
        if spec is None:
            if row.recipe == "finetune":
                raise ConfigError(
                    f"The row {row.name} is tuned from the start {row.start!r}, which the scale "
                    f"has not; it has {', '.join(scale.starts) or 'none'}."
                )
            return {}, None
        assert row.start is not None
        of_target = scale.targets[cell.target].settings.get(spec.command, {})
        settings = joined(joined(of_target, scale.settings.get(spec.command, {})), spec.settings)
        asked = {"command": spec.command, "settings": settings}
        source = scale.sources[self.bench.source_name(cell)]
        name = f"{plain(row.start)}-{digest_of(asked, source, scale.targets[cell.target])}"
        place = self.bench.out / "starts" / plain(cell.target) / name / f"seed-{cell.seed}"
        return asked, place

    def _of_start(self, cell: Cell, asked: Mapping[str, Any]) -> dict[str, Any]:
        own = self._adapting(cell) if asked["command"] == "train-uda" else self._meta(cell)
        return {**own, **self._placed(asked["settings"])}

    def _settings(self, cell: Cell, command: str) -> dict[str, Any]:
        """A row's settings, those of the target, and those of the scale, which go first."""
        scale, row = self.bench.scale, self.bench.row(cell)
        settings = joined(row.settings, scale.targets[cell.target].settings.get(command, {}))
        settings = joined(settings, scale.settings.get(command, {}))
        method = settings.get("method", "")
        settings = joined(settings, scale.settings.get(f"{command} {method}", {}))
        return dict(self._placed(settings))

    def _placed(self, value: Any) -> Any:
        """Settings in which files are named from the data folder on."""
        if isinstance(value, Mapping):
            return {key: self._placed(entry) for key, entry in value.items()}
        if isinstance(value, str) and value.startswith(_DATA):
            return below(self.bench.config.data, Path(value.removeprefix(_DATA)))
        return value

    # ------------------------------------------------------------ learning

    def learn(self, cell: Cell, folder: Path, cancel: CancelToken) -> Path:
        """Train a cell's detector in a folder; the folder."""
        _, start = self.start(cell)
        if self.bench.row(cell).recipe == "finetune":
            command, own = "finetune", self._tuning(cell)
        else:
            command, own = "train-uda", self._adapting(cell)
        if start is not None:
            own["start"] = start
        self.bench.job(command, folder, {**own, **self._settings(cell, command)}, cancel)
        return folder

    def _source_frames(self, cell: Cell) -> tuple[dict[str, Any], Path]:
        """The frames of a cell's source, and the file of their labels."""
        name = self.bench.source_name(cell)
        spec = self.bench.scale.sources[name].pictures
        if spec is None:
            raise ConfigError(f"The source {name} has no pictures for rows of uda and finetune.")
        made = self.bench.made(f"{name} pictures")
        path, labels = frames_folder(spec, self.bench.config.data, made), self._labels(name)
        return {"path": path, "crop": "boxes", "boxes": labels}, labels

    def source_poses(self, cell: Cell) -> NDArray[np.float32]:
        """Poses of the labelled pictures of a cell's source, (n, J, 2) normalised."""
        return normalised(read_poses(self._labels(self.bench.source_name(cell))).keypoints)

    def _target_frames(self, cell: Cell) -> tuple[dict[str, Any], Path]:
        """Frames of the target that may be learned from, and the file of their labels."""
        labels = self._part(cell.target, "train")
        path = self.bench.target(cell.target).frames
        return {"path": path, "crop": "boxes", "boxes": labels}, labels

    def _adapting(self, cell: Cell) -> dict[str, Any]:
        """Of train-uda: both domains, and what says how hard poses are."""
        source, labels = self._source_frames(cell)
        target, target_labels = self._target_frames(cell)
        own = {
            "source": source,
            "labels": labels,
            "target": target,
            "target_labels": target_labels,
            "bins": self.bench.scale.bins,
            "seed": cell.seed,
        }
        vae = {"vae": self._vae(self.bench.source_name(cell))} if self._graded else {}
        return own | vae

    def _meta(self, cell: Cell) -> dict[str, Any]:
        """Of train-meta."""
        frames, labels = self._source_frames(cell)
        return {"frames": frames, "labels": labels, "seed": cell.seed}

    def _tuning(self, cell: Cell) -> dict[str, Any]:
        """Of finetune: frames of the target, of which as many as the row says are shots."""
        frames, labels = self._target_frames(cell)
        shots = self.bench.row(cell).shots
        return {"frames": frames, "labels": labels, "shots": shots, "seed": cell.seed}

    # ------------------------------------------------------------ difficulty

    def difficulty(self, cell: Cell) -> NDArray[np.intp] | None:
        """Bins of a target's test poses by how unusual they are for the source; None if not asked.

        Raises
        ------
        FlexPoseError : there are fewer test poses than bins.
        """
        if not self._graded:
            return None
        source = self.bench.source_name(cell)
        if (cell.target, source) not in self._bins:
            scores = difficulty(self._vae(source), self.bench.target(cell.target).test)
            self._bins[cell.target, source] = quantile_bins(scores, self.bench.scale.bins)
        return self._bins[cell.target, source]
