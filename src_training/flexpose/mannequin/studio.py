"""Job ``make-studio``: frames of mannequins in captured motion, for training and for testing.

A studio has four cameras that never move, each before a side of the room of its own. Each take
(``takes``) is seen by one of them, as a person of its own build and clothes, turned to some side.
People who walk far walk a shorter way, so that nobody leaves the picture.

A take becomes a folder of JPEG files of quality 95: real footage is compressed too, and the
sensor's noise makes PNG files several times as large.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose.configs.studio import StudioConfig
from flexpose.errors import ConfigError, DataFormatError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFinished,
    JobStarted,
    PhaseChanged,
    StepCompleted,
)
from flexpose.frames.base import natural_key
from flexpose.io.base import atomic_write_text
from flexpose.io.coco import write_coco
from flexpose.jobs import CancelToken
from flexpose.mannequin.body import Body, turn
from flexpose.mannequin.capture import captured_body, draw_build, joints_by_name, moved
from flexpose.mannequin.render import Camera, solids
from flexpose.mannequin.room import Decor, Room, build_room
from flexpose.mannequin.sample import Clip, body_boxes, draw, draw_outfit, visibility
from flexpose.mannequin.takes import CAMERAS, Split, Take, motion_files, plan_takes, read_clips
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton, load_skeleton

Array = NDArray[np.float64]

REACH = 0.2  # metres of flesh beyond a joint: hands, toes, the top of the head
SHORTS = 0.3  # share of people in shorts


@dataclass(frozen=True)
class View:
    """A camera and the side of the room before it.

    ``azimuth`` is its direction seen from the middle of the room, in radians. Each view has axes of
    its own, x to the right and y towards its wall; people are turned into them.
    """

    azimuth: float
    camera: Camera
    room: Room


@dataclass(frozen=True)
class Studio:
    """What all frames of a seed share."""

    seed: int
    views: tuple[View, ...]
    skeleton: Skeleton


def run(config: StudioConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Write ``train`` and ``test`` with ``train.coco.json`` and ``test.coco.json`` into the run.

    Takes that are there already are not drawn again. A run stopped early keeps what it has.
    """
    yield PhaseChanged("reading the motion")
    paths = motion_files(config.motion)
    clips = [clip for path in paths for clip in read_clips(path)]
    takes = plan_takes(clips, config.train, config.test, config.seed)
    _write_note(run.path, config, paths, takes)
    yield PhaseChanged("building the studio")
    studio = build_studio(config.seed, config.image_size)
    total = config.train + config.test
    yield JobStarted("make-studio", total, run.path)
    done: dict[Split, list[PoseSet]] = {"train": [], "test": []}
    frames, began, reported = 0, time.monotonic(), 0.0
    with closing(_drawn(studio, takes, run.path, config.workers)) as drawn:
        for take, poses in zip(takes, drawn, strict=True):
            done[take.split].append(poses)
            frames += len(poses)
            now = time.monotonic()
            if now - reported > 0.2 or frames == total:
                reported = now
                left = (now - began) / frames * (total - frames)
                yield StepCompleted(frames, total, {}, None, left)
            if cancel.cancelled:
                yield JobCancelled(frames)
                return
            if cancel.stopped:
                break
    for split, sets in done.items():
        if sets:
            sets.sort(key=lambda poses: natural_key((poses.groups or ("",))[0]))
            write_coco(PoseSet.concat(sets), run.path / f"{split}.coco.json", backup=False)
    yield JobFinished(run.path)


# ---------------------------------------------------------------- studio


def build_studio(seed: int, image_size: int) -> Studio:
    """Put up the cameras and paint what is behind the people."""
    views = []
    for number in range(CAMERAS):
        rng = np.random.default_rng([seed, 4, number])
        azimuth = np.radians(90 * number + rng.uniform(20, 70))
        aside, away, height = rng.uniform(-1.1, 1.1), rng.uniform(4.2, 6.0), rng.uniform(1.3, 2.8)
        camera = _framed(image_size, (aside, -away, height), rng.uniform(0.92, 1.0))
        views.append(View(azimuth, camera, build_room(camera, rng, Decor.draw(rng))))
    return Studio(seed, tuple(views), load_skeleton("body15"))


def _framed(image_size: int, position: tuple[float, float, float], share: float) -> Camera:
    """A camera whose picture a tall person in the middle, arms raised or spread, just fits.

    ``share`` of the picture is theirs at most.
    """
    turn = np.linspace(0, 2 * np.pi, 33)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rings = ((0.6, -0.05), (1.05, 0.9), (1.05, 1.55), (0.35, 2.3))
    hull = np.concatenate([np.c_[radius * ring, np.full(33, z)] for radius, z in rings])
    target = (0.0, 0.0, 1.1)
    seen = Camera(1, position, target, zoom=1.0).project(hull)[:, :2]
    return Camera(image_size, position, target, zoom=float(share / 2 / np.abs(seen).max()))


# ---------------------------------------------------------------- frames


def _drawn(
    studio: Studio, takes: Sequence[Take], folder: Path, workers: int
) -> Generator[PoseSet, None, None]:
    """Poses of all takes in order, their frames on disk."""
    work = partial(draw_take, studio, folder)
    try:
        if workers == 1:
            yield from map(work, takes)
        else:
            deaf = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the job answers it
            with ProcessPoolExecutor(
                workers, get_context("spawn"), initializer=signal.signal, initargs=deaf
            ) as pool:
                yield from pool.map(work, takes, chunksize=2)
    except OSError as error:
        raise DataFormatError(folder, "", f"cannot be written ({error.strerror}).") from error


def draw_take(studio: Studio, folder: Path, take: Take) -> PoseSet:
    """Poses of a take; draws its frames into ``folder`` unless they are there."""
    view = studio.views[take.view]
    rng = np.random.default_rng([studio.seed, 5, take.number])
    build = draw_build(rng)
    skeleton = studio.skeleton
    body = captured_body(joints_by_name(take.clip.points, skeleton), build)
    body = _placed(body, take, view, rng.uniform(0, 2 * np.pi))
    outfit = draw_outfit(rng)
    if rng.random() < SHORTS:
        outfit["shin"] = outfit["skin"]
    clip = Clip(solids(body.parts, view.camera.position), outfit)
    target = folder / take.split / take.name
    names = [f"{frame:04d}.jpg" for frame in take.clip.frames]
    if not target.is_dir():
        _write_frames(studio, take, clip, target, names)
    joints = np.stack([body.joints[name] for name in skeleton.joints], axis=1)
    girth = build.height * max(build.girth, 1.0)
    return PoseSet(
        skeleton=skeleton,
        keypoints=view.camera.project(joints)[..., :2].astype(np.float32),
        visibility=visibility(view.camera, clip.scene, joints, skeleton.joints, girth),
        image_size=np.array([view.camera.image_size] * 2, dtype=np.int32),
        boxes=body_boxes(view.camera, clip.scene).astype(np.float32),
        image_ids=tuple(f"{take.name}/{name}" for name in names),
        groups=(take.name,) * len(names),
        source=(f"flexpose studio, seed {studio.seed}; motion: {take.clip.file}",),
    )


def _placed(body: Body, take: Take, view: View, heading: float) -> Body:
    """The body on its captured way, shortened until all of it stays in the picture."""
    way = take.clip.points[:, 2] * [1, 1, 0]
    way = way - (way.max(axis=0) + way.min(axis=0)) / 2
    root = turn(np.array([heading - view.azimuth]))[0]
    way = way @ root.T
    longest = max(float(np.abs(way).max()), 1e-6)
    for metres in (0.8, 0.6, 0.4, 0.2, 0.0):
        there = moved(body, root, way * min(1.0, metres / longest))
        if _inside(there, view.camera):
            break
    return there


def _inside(body: Body, camera: Camera) -> bool:
    """Whether flesh around all joints is inside the picture in all frames."""
    seen = camera.project(np.stack(list(body.joints.values())))
    reach = REACH * camera.zoom * camera.image_size / seen[..., 2:]
    low, high = seen[..., :2] - reach, seen[..., :2] + reach
    return bool(low.min() >= 0 and high.max() <= camera.image_size - 1)


def _write_frames(
    studio: Studio, take: Take, clip: Clip, target: Path, names: Sequence[str]
) -> None:
    """All frames of a take, or none."""
    view = studio.views[take.view]
    unfinished = target.with_name(f".{target.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for frame, name in enumerate(names):
        noise = np.random.default_rng([studio.seed, 6, take.number, frame])
        image = draw(view.camera, view.room, clip, frame, noise)
        _, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95]
        )
        (unfinished / name).write_bytes(jpeg.tobytes())
    unfinished.rename(target)


def _write_note(
    folder: Path, config: StudioConfig, paths: Sequence[Path], takes: Sequence[Take]
) -> None:
    """``studio.json``: what the frames were made from; refuses a folder with others.

    Raises
    ------
    ConfigError : the folder holds frames of other settings or motion.
    """
    note: Mapping[str, Any] = {
        "seed": config.seed,
        "image_size": config.image_size,
        "motion": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
        "takes": [
            {"take": f"{take.split}/{take.name}", "file": take.clip.file, "clip": take.clip.name,
             "camera": take.view, "frames": len(take.clip.frames)}
            for take in takes
        ],
    }  # fmt: skip
    text = json.dumps(note, indent=1) + "\n"
    path = folder / "studio.json"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{folder} holds frames of other settings or motion.",
            "Name another --out, or remove train, test and studio.json there.",
        )
    atomic_write_text(path, text)
