"""Job ``translate``: a painted picture of each pose, and the poses as its keypoints."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flexpose.compute import generator_for, prepare, resolve_device, translate_out_of_memory
from flexpose.configs.translator import PICTURES_FILE, TranslateConfig
from flexpose.errors import ConfigError, DataFormatError, FlexPoseError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFinished,
    JobStarted,
    PhaseChanged,
    PreviewReady,
    StepCompleted,
    WarningRaised,
)
from flexpose.geometry import normalised, unit_to_canvas
from flexpose.io.base import atomic_write_bytes
from flexpose.io.coco import (
    INFO,
    CocoAnnotation,
    CocoDataset,
    CocoImage,
    synthetic_name,
    write_coco,
)
from flexpose.jobs import CancelToken
from flexpose.mapping import map_poses
from flexpose.models.translator import Translator, inside, load_translator
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.training.clips import placed
from flexpose.training.data import file_or_model
from flexpose.training.pictures import png, sheet, to_uint8

_CHOICE, _FRAMES, _POSES = range(1 << 40, (1 << 40) + 3)  # random streams
_DRAWN = 100  # pictures of a model that is not told how many
_COLUMNS, _ROWS = 8, 2  # of the sheet
_REPORT_SECONDS = 0.2
_DESCRIPTION = "Synthetic pictures, painted of poses by napari-flexpose; no camera took them"


def run(config: TranslateConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Paint pictures; a cancelled or failed run leaves no folder, one stopped early what it has.

    Raises
    ------
    ConfigError : the result exists and is not to be replaced, or is none of this job's.
    FlexPoseError : translator or poses cannot be read or do not fit, or there are too few poses.
    """
    target = _checked_target(config)
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("loading the translator")
    translator = load_translator(config.model, device)
    yield PhaseChanged("reading poses")
    count, random = config.n or _DRAWN, generator_for(config.seed, _POSES)
    read = file_or_model(config.poses, config.source, count, random, device)
    poses = map_poses(read, translator.skeleton)
    poses = poses[poses.complete]
    if len(poses) < len(read):
        left = len(read) - len(poses)
        yield WarningRaised("poses", f"{left} of {len(read)} poses lack joints and are left out.")
    poses = _chosen(poses, config)
    frames = translator.any_frames(len(poses), generator_for(config.seed, _FRAMES))
    unit = torch.from_numpy(normalised(poses.keypoints))
    if len(translator.places):
        unit = placed(unit, translator.places[frames])
    unit = inside(unit).to(device)
    yield JobStarted("translate", len(unit), run.path)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with translate_out_of_memory():
            done = yield from _paint(translator, unit, frames, config.batch_size, partial, cancel)
            if cancel.cancelled:
                yield JobCancelled(done)
                return
            picture = _sheet(translator, unit[:done], frames)
        yield PreviewReady(done, picture[None])
        atomic_write_bytes(run.path / "sheet.png", png(picture))
        notes = _write_poses(config, translator, unit[:done], poses.source, partial)
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
    except OSError as error:
        raise DataFormatError(target, "", f"cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for note in notes:
        yield WarningRaised("format", note)
    yield JobFinished(target)


def _checked_target(config: TranslateConfig) -> Path:
    target = config.out
    if target is None:
        raise ConfigError("There is no place for the pictures.", "Name a folder: --out pictures")
    if not target.exists():
        return target
    if not config.overwrite:
        raise ConfigError(f"{target} exists already.", "Name another --out, or --overwrite.")
    ours = {PICTURES_FILE, Path(synthetic_name(1)).parts[0]}
    if not target.is_dir() or {path.name for path in target.iterdir()} - ours:
        raise ConfigError(
            f"{target} holds what translate did not write, and is not replaced.",
            "Name another --out.",
        )
    return target


def _chosen(poses: PoseSet, config: TranslateConfig) -> PoseSet:
    """``config.n`` of the poses, in their order; all of them when it is empty."""
    count = len(poses) if config.n is None else config.n
    if not 0 < count <= len(poses):
        raise FlexPoseError(
            f"{config.poses or config.source}: {len(poses)} poses are complete, expected at least "
            f"{count or 1}.",
            "Draw more with `flexpose-train sample`, or lower n.",
        )
    rows = np.random.default_rng([config.seed, _CHOICE]).permutation(len(poses))[:count]
    return poses[np.sort(rows)]


def _paint(
    translator: Translator,
    unit: Tensor,
    frames: Tensor,
    batch_size: int,
    folder: Path,
    cancel: CancelToken,
) -> Generator[JobEvent, None, int]:
    """Write a picture of each pose; how many were written before the job was to end."""
    done, began, reported = 0, time.monotonic(), 0.0
    for block, like in zip(unit.split(batch_size), frames.split(batch_size), strict=True):
        if cancel.cancelled or (cancel.stopped and done):
            break
        for image in to_uint8(translator(block, like)[1]):
            done += 1
            path = folder / synthetic_name(done)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(image))
        now = time.monotonic()
        if now - reported > _REPORT_SECONDS or done == len(unit):
            reported = now
            left = (now - began) / done * (len(unit) - done)
            yield StepCompleted(done, len(unit), {}, None, left)
    return done


def _sheet(translator: Translator, unit: Tensor, frames: Tensor) -> NDArray[np.uint8]:
    """Skeleton images above their pictures, of poses spread over all."""
    columns = min(_COLUMNS, len(unit))
    rows = min(_ROWS, len(unit) // columns)
    shown = torch.linspace(0, len(unit) - 1, rows * columns).round().long()
    drawn, painted = (to_uint8(images) for images in translator(unit[shown], frames[shown]))
    return sheet(
        [
            part[start : start + columns]
            for start in range(0, len(shown), columns)
            for part in (drawn, painted)
        ]
    )


def _write_poses(
    config: TranslateConfig,
    translator: Translator,
    unit: Tensor,
    source: tuple[str, ...],
    folder: Path,
) -> tuple[str, ...]:
    size = translator.size
    names = tuple(synthetic_name(number + 1) for number in range(len(unit)))
    poses = PoseSet.create(
        translator.skeleton,
        unit_to_canvas(unit.cpu().numpy(), size),
        (size, size),
        image_ids=names,
        source=(*source, f"pictures painted by {config.model}"),
    )
    mark = {"synthetic": True}
    detail = CocoAnnotation(
        source="synthetic",
        reviewed=False,
        model=str(config.model),
        seed=config.seed,
        fields=mark,
    )
    return write_coco(
        CocoDataset(
            poses=poses,
            annotations=(detail,) * len(poses),
            images=tuple(CocoImage(name=n, width=size, height=size, fields=mark) for n in names),
            info={**INFO, "description": _DESCRIPTION, **mark},
        ),
        folder / PICTURES_FILE,
        backup=False,
    )
