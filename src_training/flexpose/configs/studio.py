"""Settings of the job that draws a studio's frames from motion capture."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from flexpose.configs.base import JobConfig


class StudioConfig(JobConfig):
    """Frames of mannequins that move as captured people did, seen by four cameras."""

    motion: tuple[Path, ...] = Field(
        min_length=1,
        title="Motion capture",
        description="Files (.npz) as the reader `mocap` takes them, or folders of such files.",
    )
    train: int = Field(20_000, ge=1, title="Training frames")
    test: int = Field(2_000, ge=1, title="Test frames")
    image_size: int = Field(128, ge=32, title="Width and height of a frame in pixels")
    workers: int = Field(2, ge=1, title="Processes that draw; the frames do not depend on it")
