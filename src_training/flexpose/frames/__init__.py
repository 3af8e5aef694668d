"""Where frames come from: a folder of images or videos, a video, the images that a COCO file lists.

``open_frames(path)`` picks one of them by what the path is. Opening reads names only; each
frame is read when it is asked for, and the last ones are kept within a fixed number of bytes.
"""

from __future__ import annotations

from pathlib import Path

from flexpose.errors import DataFormatError
from flexpose.frames.base import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FrameSource
from flexpose.frames.images import CocoFrames, FolderFrames, only_videos
from flexpose.frames.video import VideoFrames
from flexpose.frames.video_folder import VideoFolder

__all__ = ["CocoFrames", "FolderFrames", "FrameSource", "VideoFolder", "VideoFrames", "open_frames"]


def open_frames(path: Path | str, image_root: Path | str | None = None) -> FrameSource:
    """Open a folder of images, or of videos alone, a video, or a COCO file with its images.

    Parameters
    ----------
    image_root : folder of the images of a COCO file; without it, the folder of the file

    Raises
    ------
    DataFormatError : the path is missing, is none of these, or holds no frames.
    """
    path = Path(path)
    if path.is_dir():
        videos = only_videos(path)
        return VideoFolder(path, videos) if videos else FolderFrames(path)
    if not path.exists():
        raise DataFormatError(path, "", "does not exist.")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return CocoFrames(path, image_root)
    if suffix in VIDEO_SUFFIXES:
        return VideoFrames(path)
    if suffix in IMAGE_SUFFIXES:
        raise DataFormatError(
            path, "", "is a single image, expected a folder.", "Open the folder it is in."
        )
    raise DataFormatError(
        path,
        "",
        f"is neither a folder nor a COCO file (.json) nor a video ({', '.join(VIDEO_SUFFIXES)}).",
    )
