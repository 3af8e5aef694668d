"""Job ``predict``: a pose and its confidence for every frame, as a COCO file."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from flexpose.calibration import drift_of
from flexpose.compute import prepare, resolve_device, translate_out_of_memory
from flexpose.configs.detector import PredictConfig
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
)
from flexpose.frames import FrameSource, open_frames
from flexpose.frames.crops import cut
from flexpose.geometry import FILL, boxes_to_crops, tight_boxes, unit_to_image
from flexpose.io.coco import CocoAnnotation, CocoDataset, write_coco
from flexpose.jobs import CancelToken
from flexpose.models.detector import Detector, load_detector
from flexpose.poseset import PoseSet
from flexpose.rendering.raster import draw_overlay
from flexpose.runs import RunDir
from flexpose.training.clips import Clips, load_clips, signed

_NEAR = 0.1 * FILL  # of a crop's side, as confidence is meant
_SHOWN, _TILE = 8, 192  # predictions of a preview, and their side in pixels
_REPORT_SECONDS = 0.2

Array = NDArray[np.float32]


def run(config: PredictConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Predict; a cancelled run leaves no file.

    Raises
    ------
    ConfigError : the result exists, or is no COCO file by its name.
    FlexPoseError : detector or frames cannot be read.
    """
    target = config.out
    if target is None or target.suffix != ".json":
        raise ConfigError(
            f"Found the result {target}, expected a COCO file.", "Name one: --out predictions.json"
        )
    if target.exists() and not config.overwrite:
        raise ConfigError(f"{target} exists already.", "Name another --out, or --overwrite.")
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("loading the detector")
    detector = load_detector(config.model, device)
    yield PhaseChanged("looking for the person in the frames")
    clips = load_clips(config.frames, detector.size, lambda: cancel.cancelled)
    if clips is None:
        yield JobCancelled(0)
        return
    with translate_out_of_memory():
        yield from _predict(config, run, detector, clips, device, cancel)


def _predict(
    config: PredictConfig,
    run: RunDir,
    detector: Detector,
    clips: Clips,
    device: torch.device,
    cancel: CancelToken,
) -> Iterator[JobEvent]:
    frames = open_frames(config.frames.path)
    place = {name: i for i, name in enumerate(frames.names)}
    index = np.array([place[name] for name in clips.names])
    total, done, began, reported = len(index) * config.rounds, 0, time.monotonic(), 0.0
    yield JobStarted("predict", total, run.path)
    crops, keypoints = clips.crops, np.zeros((len(index), detector.skeleton.num_joints, 2))
    mass = np.zeros(keypoints.shape[:2], np.float32)
    for number in range(config.rounds):
        if number:
            crops = boxes_to_crops(tight_boxes(keypoints))
        for start in range(0, len(index), config.batch_size):
            if cancel.cancelled:
                yield JobCancelled(done)
                return
            rows = np.arange(start, min(start + config.batch_size, len(index)))
            images = (
                _crops(frames, index[rows], crops[rows], detector.size)
                if number
                else clips.images[torch.from_numpy(rows)]
            )
            found = detector.read(signed(images).to(device))
            keypoints[rows] = unit_to_image(found.keypoints.cpu().numpy(), crops[rows])
            mass[rows] = found.mass.cpu().numpy()
            done += len(rows)
            now = time.monotonic()
            if now - reported > _REPORT_SECONDS or done == total:
                reported = now
                yield StepCompleted(done, total, {}, None, (now - began) / done * (total - done))
    tenth = _NEAR * crops[:, 2]
    drift = drift_of(keypoints / tenth[:, None, None], clips.clip.numpy(), 1.0)
    poses = PoseSet.create(
        detector.skeleton,
        keypoints,
        np.array([frames.size(int(i)) for i in index]),
        confidence=detector.calibration.probability(mass, drift),
        image_ids=clips.names,
        source=(f"predicted by {config.model}",),
    )
    yield PreviewReady(done, _preview(frames, index, poses, crops))
    assert config.out is not None
    detail = CocoAnnotation(source="suggested", reviewed=False, model=str(config.model))
    write_coco(CocoDataset(poses=poses, annotations=(detail,) * len(poses)), config.out)
    confidence = poses.confidence
    assert confidence is not None
    yield MetricsReady(
        done, {"frames": float(len(poses)), "confidence": float(confidence.mean())}, "predict"
    )
    yield JobFinished(config.out)


def _crops(frames: FrameSource, index: NDArray[np.intp], crops: Array, size: int) -> torch.Tensor:
    """Crops of frames, uint8 (n, 3, size, size)."""
    cuts = [cut(frames.read(int(i)), crop, size) for i, crop in zip(index, crops, strict=True)]
    return torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2)


def _preview(
    frames: FrameSource, index: NDArray[np.intp], poses: PoseSet, crops: Array
) -> NDArray[np.uint8]:
    """Some frames with what was found in them, uint8 (n, side, side, 3)."""
    rows = np.linspace(0, len(poses) - 1, min(_SHOWN, len(poses))).round().astype(int)
    tiles = []
    for row in rows:
        x, y, side = crops[row]
        scale = (_TILE - 1) / side
        picture = cut(frames.read(int(index[row])), crops[row], _TILE)
        points = (poses.keypoints[row] - np.array([x, y])) * scale
        tiles.append(draw_overlay(picture, points, poses.skeleton))
    return np.stack(tiles)
