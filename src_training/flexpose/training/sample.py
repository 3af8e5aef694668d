"""Job ``sample``: any number of poses from a model, into one file or store."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flexpose.compute import generator_for, prepare, resolve_device, translate_out_of_memory
from flexpose.configs.adaptation import SampleConfig
from flexpose.errors import ConfigError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFinished,
    JobStarted,
    MetricsReady,
    PhaseChanged,
    PreviewReady,
    StepCompleted,
    WarningRaised,
)
from flexpose.geometry import canvas_poses
from flexpose.io.coco import CocoAnnotation
from flexpose.io.coco_stream import CocoStreamWriter
from flexpose.io.npz import write_npz
from flexpose.io.zarr_store import PoseStore
from flexpose.jobs import CancelToken
from flexpose.poseset import PoseSet
from flexpose.rendering.raster import skeleton_images
from flexpose.runs import RunDir
from flexpose.sampling import PoseModel, PoseSampler, load_model

_BLOCK = 4096  # poses between two writes, and so the memory of a run
_SAMPLES = 1 << 40  # its random stream


def run(config: SampleConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Draw ``config.n`` poses.

    Cancelled or failed runs leave no file; a run stopped early keeps what it has.
    """
    target = _checked_target(config)
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("loading the model")
    model = load_model(config.model, device, config.regressor)
    with translate_out_of_memory():
        yield from _draw(config, run, target, model, cancel)


def _checked_target(config: SampleConfig) -> Path:
    if config.out is None:
        raise ConfigError("There is no place for the poses.", "Name one: --out poses.json")
    if config.out.suffix not in (".json", ".zarr", ".npz"):
        raise ConfigError(
            f"{config.out} ends neither in .json (COCO) nor in .zarr or .npz.",
            "Choose one of them; `flexpose-train convert` makes other formats of it.",
        )
    if config.images and config.out.suffix != ".zarr":
        raise ConfigError("Skeleton images go into Zarr stores only.", "Name an --out x.zarr.")
    if config.out.exists() and not config.overwrite:
        raise ConfigError(f"{config.out} exists already.", "Name another --out, or --overwrite.")
    return config.out


def _draw(
    config: SampleConfig, run: RunDir, target: Path, model: PoseModel, cancel: CancelToken
) -> Iterator[JobEvent]:
    sampler = PoseSampler(model, config.reject, config.truncation, config.mixup_share)
    yield JobStarted("sample", config.n, run.path)
    random = generator_for(config.seed, _SAMPLES)
    began, reported, done = time.monotonic(), 0.0, 0
    with ExitStack() as stack:
        writer = stack.enter_context(_PoseWriter(config, target, model))
        for block in _blocks(sampler, config, random):
            if cancel.cancelled:
                writer.discard()
                yield JobCancelled(done)
                return
            if cancel.stopped:
                break
            writer.append(block)
            if done == 0:
                pictures = skeleton_images(block[:16], model.prior.skeleton, model.prior.style)
                yield PreviewReady(0, np.broadcast_to(pictures, (*pictures.shape[:3], 3)))
            done += len(block)
            now = time.monotonic()
            if now - reported > 0.2 or done == config.n:
                reported = now
                left = (now - began) / done * (config.n - done)
                yield StepCompleted(done, config.n, {}, None, left)
    counts = sampler.counts
    yield MetricsReady(
        done,
        {
            "poses_per_second": done / max(time.monotonic() - began, 1e-6),
            "inconsistent_share": counts.inconsistent / max(counts.made, 1),
            "kept_share": counts.kept / max(counts.made, 1),
        },
        "sample",
    )
    for note in writer.notes:
        yield WarningRaised("format", note)
    yield JobFinished(target)


def _blocks(
    sampler: PoseSampler, config: SampleConfig, random: torch.Generator
) -> Iterator[NDArray[np.float32]]:
    """``config.n`` unit poses in blocks of at most ``_BLOCK``."""
    left = config.n
    waiting: list[NDArray[np.float32]] = []
    have = 0
    for chunk in sampler.chunks(random):
        part = chunk.cpu().numpy()[: left - have]
        waiting.append(part)
        have += len(part)
        while have >= min(_BLOCK, left):
            joined = np.concatenate(waiting)
            block, rest = joined[:_BLOCK], joined[_BLOCK:]
            yield block
            left -= len(block)
            if left == 0:
                return
            waiting, have = [rest], len(rest)


class _PoseWriter:
    """A file or store of canvas poses; complete at the end of the ``with``, or absent.

    COCO files and Zarr stores are written as poses come; an NPZ waits in memory for the last one.
    """

    def __init__(self, config: SampleConfig, target: Path, model: PoseModel) -> None:
        self._config, self._target, self._model = config, target, model
        self._partial = target.with_name(f"{target.name}.partial")
        self._discarded = False
        self._source = (f"sampled from {config.model}",)
        self._coco: CocoStreamWriter | None = None
        self._store: PoseStore | None = None
        self._waiting: list[PoseSet] | None = [] if target.suffix == ".npz" else None
        skeleton = model.prior.skeleton
        if target.suffix == ".json":
            self._coco = CocoStreamWriter(
                self._partial,
                skeleton,
                detail=CocoAnnotation(
                    source="synthetic", reviewed=False, model=str(config.model), seed=config.seed
                ),
                history=self._source,
            )

    def __enter__(self) -> _PoseWriter:
        self._remove(self._partial)
        if self._coco is not None:
            self._coco.__enter__()
        elif self._waiting is None:
            size = self._config.size
            self._store = PoseStore.create(
                self._partial,
                self._model.prior.skeleton,
                image_shape=(size, size) if self._config.images else None,
                provenance=self._config.model_dump(mode="json"),
                source=self._source,
            )
        return self

    def append(self, unit: NDArray[np.float32]) -> None:
        """Write unit poses (n, J, 2)."""
        poses = self._canvas(unit)
        if self._coco is not None:
            self._coco.append(poses)
            return
        if self._waiting is not None:
            self._waiting.append(poses)
            return
        assert self._store is not None
        images = None
        if self._config.images:
            style = replace(self._model.prior.style, size=self._config.size)
            drawn = skeleton_images(unit, self._model.prior.skeleton, style)
            images = np.ascontiguousarray(np.broadcast_to(drawn, (*drawn.shape[:3], 3)))
        self._store.append(poses, images)

    def _canvas(self, unit: NDArray[np.float32]) -> PoseSet:
        return canvas_poses(unit, self._model.prior.skeleton, self._config.size, self._source)

    def discard(self) -> None:
        """Leave no file at the end of the ``with``."""
        self._discarded = True

    @property
    def notes(self) -> tuple[str, ...]:
        """What the format forced."""
        return self._coco.notes if self._coco is not None else ()

    def __exit__(self, *error: object) -> None:
        try:
            if self._coco is not None:
                self._coco.__exit__(*error)  # type: ignore[arg-type]
            if error[0] is None and not self._discarded:
                if self._waiting is not None:
                    write_npz(PoseSet.concat(self._waiting), self._partial)
                if self._target.is_dir():
                    self._remove(self._target)  # --overwrite of a store
                os.replace(self._partial, self._target)
        finally:
            self._remove(self._partial)

    @staticmethod
    def _remove(path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
