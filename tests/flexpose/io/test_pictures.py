"""Labels of datasets meet their pictures, in the files that they come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from flexpose.configs.detector import FramesConfig
from flexpose.frames import VideoFolder, open_frames
from flexpose.io import read_poses
from flexpose.training.clips import load_clips, load_labels

Samples = dict[str, tuple[Callable[[Path], Path], ...]]


def write_pictures(folder: Path, names: set[str]) -> None:
    pixels = np.zeros((240, 320, 3), np.uint8)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), pixels)


@pytest.mark.parametrize(
    ("name", "form", "pictures"),
    [
        ("lsp", 0, "images"),
        ("h36m", 0, "images"),
        ("h36m", 2, "images"),
        ("h36m", 3, "images"),
        ("simple-h36m", 0, "."),
        ("rhd", 0, "."),
        ("rhd", 1, "."),
        ("hand3d", 1, "H3D_crop"),
    ],
)
def test_every_labelled_frame_is_found(
    name: str, form: int, pictures: str, samples: Samples, tmp_path: Path
) -> None:
    labels = samples[name][form](tmp_path)
    poses = read_poses(labels)
    write_pictures(tmp_path / pictures, set(poses.image_ids or ()))
    config = FramesConfig(path=tmp_path / pictures, crop="boxes", boxes=labels)
    clips = load_clips(config, 32)
    assert clips is not None
    assert len(load_labels(labels, clips, poses.skeleton).rows) == len(poses)


def test_frames_of_surreal_are_those_of_the_videos_beside_its_labels(
    samples: Samples, tmp_path: Path
) -> None:
    folder = samples["surreal"][1](tmp_path)
    poses = read_poses(folder)
    (info,) = folder.rglob("*_info.mat")
    path = info.with_name(info.name.replace("_info.mat", ".mp4"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(len(poses)):
            frame = av.VideoFrame.from_ndarray(np.zeros((240, 320, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = open_frames(folder)
    assert isinstance(frames, VideoFolder)
    assert tuple(frames.names) == poses.image_ids
    clips = load_clips(FramesConfig(path=folder, crop="boxes", boxes=folder), 32)
    assert clips is not None
    assert len(load_labels(folder, clips, poses.skeleton).rows) == len(poses)
