"""Sample data: small images of a moving mannequin, drawn at the first time and kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

CLIPS_PER_ACTION, FRAMES_PER_CLIP, IMAGE_SIZE = 1, 12, 384


def sample_folder(root: Path | None = None) -> Path:
    """The folder of the sample images, made when it is not there yet.

    Parameters
    ----------
    root : where to make it; by default where the system keeps data of applications

    Raises
    ------
    FlexPoseError : the folder cannot be written.
    """
    from flexpose.errors import FlexPoseError
    from flexpose.mannequin import mannequin_frames

    folder = (root or user_data_path("napari-flexpose", appauthor=False)) / "mannequin"
    if folder.is_dir():
        return folder
    partial = folder.with_name("mannequin.partial")
    sample = mannequin_frames(
        0, clips_per_action=CLIPS_PER_ACTION, frames_per_clip=FRAMES_PER_CLIP, image_size=IMAGE_SIZE
    )
    try:
        shutil.rmtree(partial, ignore_errors=True)
        sample.write(partial)
        partial.replace(folder)
    except OSError as error:
        raise FlexPoseError(
            f"The sample cannot be written to {folder} ({error.strerror or error})."
        ) from error
    return folder


def open_mannequin() -> list[tuple[Any, dict[str, Any], str]]:
    """Open the sample in the dock; napari also gets the first image, as a hidden layer.

    napari asks a sample for layers, while the dock shows the frames by itself.
    """
    import napari

    from flexpose.frames import open_frames
    from napari_flexpose.widgets.main import FlexPoseDock

    frames = open_frames(sample_folder())
    viewer = napari.current_viewer()
    if viewer is not None:
        _, dock = viewer.window.add_plugin_dock_widget("napari-flexpose", "FlexPose")
        assert isinstance(dock, FlexPoseDock)
        dock.project_panel.open_sample()
    shown = {"name": "Mannequin", "visible": viewer is None, "rgb": True}
    return [(frames.read(0), shown, "image")]
