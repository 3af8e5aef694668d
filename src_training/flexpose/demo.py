"""Job ``demo``: the main job on the embedded mannequin, with pictures to look at.

Twelve frames of a figure that no public dataset holds are the shots; the shipped prior is bent
towards them; samples go into a COCO file and are measured against frames of other clips. A
detector learns from shots and adapted poses, labels all other frames, and is measured by the exact
keypoints.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flexpose import prediction
from flexpose.compute import generator_for, resolve_device
from flexpose.configs.adaptation import AdaptConfig, DemoConfig, SampleConfig
from flexpose.configs.detector import DetectorConfig, FramesConfig, PredictConfig
from flexpose.errors import FlexPoseError
from flexpose.evaluation.distributions import COLUMNS, compare
from flexpose.evaluation.figures import overlay_sheet, pose_sheet
from flexpose.evaluation.keypoints import score_keypoints
from flexpose.evaluation.report import summary_table, write_report
from flexpose.events import (
    TERMINAL,
    JobEvent,
    JobFinished,
    JobStarted,
    PhaseChanged,
)
from flexpose.geometry import canvas_poses, normalised
from flexpose.io.base import atomic_write_bytes, read_poses
from flexpose.io.coco import write_coco
from flexpose.io.coco_check import check_coco
from flexpose.jobs import CancelToken
from flexpose.mannequin import MannequinSample, mannequin_frames
from flexpose.mixup import pose_mixup
from flexpose.poseset import PoseSet
from flexpose.rendering.raster import draw_overlay
from flexpose.runs import RunDir
from flexpose.sampling import PoseModel, PoseSampler, load_model
from flexpose.training import adaptation, detector, sample

_STREAM = 1 << 40
_COMPARED = 2000  # poses of each set in the table


def run(config: DemoConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Shots, adaptation, samples, measures and pictures, all below the run folder."""
    yield JobStarted("demo", None, run.path)
    yield PhaseChanged("drawing the mannequin")
    frames = mannequin_frames(config.seed)
    shot_rows, test_rows = _split(frames.poses, config.shots, config.seed)
    shots_file = run.path / "shots.coco.json"
    write_coco(frames.poses[shot_rows], shots_file)
    _contact_sheet(frames, shot_rows, run.path / "1_shots.png")

    yield PhaseChanged("adapting")
    adapt = AdaptConfig(
        prior=config.prior,
        shots=shots_file.resolve(),
        seed=config.seed,
        device=config.device,
        threads=config.threads,
    )
    adapted = RunDir.create("adapt", run.path / "adapted", overwrite=True)
    adapted.begin(adapt)
    stopped = yield from _inner(adaptation.run(adapt, adapted, cancel))
    if stopped is not None:
        yield stopped
        return

    yield PhaseChanged("sampling")
    poses_file = run.path / "poses.coco.json"
    draw = SampleConfig(
        model=str(adapted.path),
        n=config.n,
        out=poses_file,
        overwrite=True,
        seed=config.seed,
        device=config.device,
        threads=config.threads,
    )
    stopped = yield from _inner(sample.run(draw, run, cancel))
    if stopped is not None:
        yield stopped
        return

    yield PhaseChanged("measuring and drawing")
    _report(config, run.path, adapted.path, frames.poses[shot_rows], frames.poses[test_rows])
    problems = [f for f in check_coco(poses_file) if f.severity == "error"]
    if problems:
        raise FlexPoseError(f"{poses_file}: {problems[0].message}", problems[0].remedy)
    if config.detector_steps:
        stopped = yield from _detect(config, run, frames, shot_rows, cancel)
        if stopped is not None:
            yield stopped
            return
    yield JobFinished(_summary(run.path, bool(config.detector_steps)))


def _detect(
    config: DemoConfig,
    run: RunDir,
    frames: MannequinSample,
    shot_rows: NDArray[np.intp],
    cancel: CancelToken,
) -> Generator[JobEvent, None, JobEvent | None]:
    """Train on all frames, of which the shots have labels; predict, and compare with the truth."""
    yield PhaseChanged("writing the frames")
    folder, found_file = run.path / "frames", run.path / "labels.coco.json"
    frames.write(folder)
    where = FramesConfig(path=folder)
    train = DetectorConfig(
        frames=where,
        shots=run.path / "shots.coco.json",
        model=str(run.path / "adapted"),
        steps=config.detector_steps,
        seed=config.seed,
        device=config.device,
        threads=config.threads,
    )
    trained = RunDir.create("train-detector", run.path / "detector", overwrite=True)
    trained.begin(train)
    yield PhaseChanged("training a detector")
    stopped = yield from _inner(detector.run(train, trained, cancel))
    if stopped is not None:
        return stopped
    yield PhaseChanged("labelling all other frames")
    predict = PredictConfig(
        model=trained.path,
        frames=where,
        out=found_file,
        overwrite=True,
        device=config.device,
        threads=config.threads,
    )
    stopped = yield from _inner(prediction.run(predict, run, cancel))
    if stopped is not None:
        return stopped
    others = np.setdiff1d(np.arange(len(frames)), shot_rows)
    found, truth = read_poses(found_file), frames.poses[others]
    report = score_keypoints(found, truth, "box")
    title = (
        f"# Labels of the demo's detector\n\nThe {len(truth)} frames of the mannequin that were "
        f"not labelled, against their exact keypoints (seed {config.seed}, "
        f"{config.detector_steps} steps).\n\n"
    )
    write_report(run.path / "labels", json.loads(report.to_json()), title + report.to_markdown())
    rows = {name: row for row, name in enumerate(frames.poses.image_ids or ())}
    overlay_sheet(lambda name: frames.image(rows[name]), found, truth, run.path / "5_labels.png")
    return None


def _inner(job: Iterator[JobEvent]) -> Generator[JobEvent, None, JobEvent | None]:
    """Pass on the events of a part; its end is returned unless it is success."""
    for event in job:
        if isinstance(event, JobFinished):
            return None
        if isinstance(event, TERMINAL):
            return event
        if not isinstance(event, JobStarted):
            yield event
    return None


def _split(poses: PoseSet, shots: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the shots, spread over the first clip of each action, and rows of all other clips."""
    assert poses.groups is not None
    groups = np.array(poses.groups)
    labelled = np.array([name for name in dict.fromkeys(poses.groups) if name.endswith("_0")])
    first = np.flatnonzero(np.isin(groups, labelled))
    rows = poses[first].spread_rows(shots, np.random.default_rng([seed, 3]))
    return first[rows], np.flatnonzero(~np.isin(groups, labelled))


def _contact_sheet(frames: MannequinSample, rows: NDArray[np.intp], path: Path) -> None:
    """The labelled frames, six in a row."""
    poses = frames.poses
    tiles = [
        draw_overlay(frames.image(int(i)), poses.keypoints[i], poses.skeleton, poses.visibility[i])
        for i in rows
    ]
    blank = np.full_like(tiles[0], 30)
    tiles += [blank] * (-len(tiles) % 6)
    sheet = np.vstack([np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles), 6)])
    encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    atomic_write_bytes(path, encoded.tobytes())


def _report(config: DemoConfig, folder: Path, adapted: Path, shots: PoseSet, test: PoseSet) -> None:
    """Measures against frames of clips that were never labelled, and sheets of poses."""
    device = resolve_device(config.device)
    model = load_model(adapted, device)
    skeleton = model.prior.skeleton

    def drawn(part: PoseModel) -> NDArray[np.float32]:
        return PoseSampler(part).draw(_COMPARED, generator_for(config.seed, _STREAM)).numpy()

    random = np.random.default_rng([config.seed, 4])
    shot_poses = normalised(shots.keypoints)
    sets = {
        "prior as it is": drawn(PoseModel(model.prior)),
        "shots mixed up": normalised(pose_mixup(shot_poses, _COMPARED, random)),
        "adapted": drawn(model),
    }
    measured = {
        name: compare(canvas_poses(poses, skeleton, 256), test).metrics()
        for name, poses in sets.items()
    }
    table = summary_table({name: [values] for name, values in measured.items()}, COLUMNS)
    text = (
        f"# FlexPose demo\n\nThe mannequin's {len(shots)} labelled frames against {len(test)} "
        f"frames of clips without labels (seed {config.seed}, {_COMPARED} poses a row):\n\n{table}"
    )
    write_report(folder / "report", measured, text)
    for number, (name, poses) in enumerate(
        (("prior", sets["prior as it is"]), ("adapted", sets["adapted"])), start=2
    ):
        pose_sheet(poses[:64], skeleton, folder / f"{number}_{name}.png")
    some = np.random.default_rng(5).choice(len(test), size=min(64, len(test)), replace=False)
    pose_sheet(normalised(test.keypoints[some]), skeleton, folder / "4_target.png")


def _summary(folder: Path, detected: bool) -> str:
    """What lies where, for people."""
    count = len(read_poses(folder / "poses.coco.json"))
    lines = [
        f"Done. Results are in {folder.resolve()}:",
        "  1_shots.png          the labelled frames",
        "  2_prior.png          poses of the prior before",
        "  3_adapted.png        and after the adaptation",
        "  4_target.png         true poses of clips that were not labelled",
        f"  poses.coco.json      {count} synthetic poses, COCO keypoints",
        "  report.md            how near they come to the true ones",
        "  adapted/             the adapted model, for `flexpose-train sample --model`",
    ]
    if detected:
        figures = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["micro"]
        near = {share: round(100 * figures[f"pck@{share}"]) for share in (".05", ".1")}
        lines += [
            "  labels.coco.json     labels of all frames by a detector trained on the shots",
            f"  labels.md            how good they are: {near['.1']} of 100 joints lie within a "
            f"tenth of the person, {near['.05']} within a twentieth",
            "  5_labels.png         the best, usual and worst of them, beside the truth",
            "  detector/            the detector, for `flexpose-train predict --model`",
        ]
    return "\n".join(lines)
