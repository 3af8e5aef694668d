"""Sample data: small images of a moving mannequin, drawn at the first time and kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

CLIPS_PER_ACTION, FRAMES_PER_CLIP, IMAGE_SIZE = 1, 6, 256
"""As much as is drawn in a second, since nobody likes to wait for a sample."""


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
    sample = mannequin_frames(
        0, clips_per_action=CLIPS_PER_ACTION, frames_per_clip=FRAMES_PER_CLIP, image_size=IMAGE_SIZE
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # whole or not at all, also when two windows draw it at once
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            drawn = Path(partial) / folder.name
            sample.write(drawn)
            if not folder.is_dir():
                drawn.replace(folder)
    except OSError as error:
        raise FlexPoseError(
            f"The sample cannot be written to {folder} ({error.strerror or error})."
        ) from error
    return folder


def open_mannequin() -> list[tuple[Any, dict[str, Any], str]]:
    """Open the sample in the dock; napari also gets the first image, as a hidden layer.

    napari insists on a layer of a sample, while the dock shows the frames by itself.
    """
    import napari
    from qtpy.QtCore import QTimer

    from flexpose.frames import open_frames
    from napari_flexpose.widgets.main import FlexPoseDock

    frames = open_frames(sample_folder())
    viewer = napari.current_viewer()
    if viewer is not None:
        _, dock = viewer.window.add_plugin_dock_widget("napari-flexpose", "FlexPose")
        assert isinstance(dock, FlexPoseDock)
        dock.project_panel.open_sample()
        # once napari has added its layer and made it the active one, which has the keys
        QTimer.singleShot(0, dock.layers.activate)
    shown = {"name": "Mannequin", "visible": viewer is None, "rgb": True}
    return [(frames.read(0), shown, "image")]
