"""The pictures of docs/user-guide.md, taken of the running plugin.

    xvfb-run -a -s "-screen 0 1280x800x24" python docs/make_pictures.py

Drives a window of 1280x800 through the user's journey on the embedded mannequin, and grabs it on
the way; a detector is trained for that, which takes minutes. The same script under
``--theme light`` looks at the other theme; its pictures go nowhere else than to ``--out``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import napari
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtCore import QBuffer, QByteArray, QEventLoop, QIODevice, QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QWidget

from flexpose.annotation.label import VISIBLE
from flexpose.annotation.template import clicks
from flexpose.events import MapReady
from flexpose.io.base import atomic_write_bytes
from flexpose.mannequin import MannequinSample, mannequin_frames
from flexpose.skeleton import load_skeleton
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.thread_runner import wait_until
from napari_flexpose.widgets.adapt_panel import AdaptPanel
from napari_flexpose.widgets.export_panel import ExportPanel
from napari_flexpose.widgets.main import FlexPoseDock
from napari_flexpose.widgets.skeleton_editor import SkeletonEditor

SIZE = (1280, 800)
LONGEST = 900.0  # seconds that a job may take on a slow machine
STEPS, PUPPETS = 500, 1000  # a detector that is small, but finds most joints of the mannequin
SHIFT = 4  # bits of a fraction of a pixel
MIDWAY = 420  # the step at which it is looked at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    out = args.out.absolute()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        take_pictures(out, args.theme)


def take_pictures(out: Path, theme: str) -> None:
    """Walk through the journey in the current folder, a picture at each stop."""
    frames = mannequin_frames(0, clips_per_action=1, frames_per_clip=12, image_size=512)
    frames.write(Path("gym"))
    viewer = napari.Viewer()
    viewer.theme = theme
    window = viewer.window._qt_window
    window.resize(*SIZE)
    dock = FlexPoseDock(viewer)
    viewer.window.add_dock_widget(dock, name="FlexPose", area="right")
    show_layers(viewer, shown=False)

    def take(name: str, widget: QWidget = window) -> None:
        rest(0.5)
        save(widget.grab(), out / f"{name}.png")

    take("open")
    dock.session.create(Path("gym"), load_skeleton("body15"))
    rest(0.5)
    dock.label_panel.suggest()
    wait_until(lambda: bool(dock.session.work), LONGEST)
    label_all_but_one(dock.session, frames)
    label_half(dock.session, frames)
    take("label")
    dock.show_help()
    assert dock._help is not None
    take("shortcuts", dock._help)
    dock._help.close()
    editor = SkeletonEditor(dock.session.skeleton, lambda skeleton: None, dock)
    editor.show()
    take("skeleton", editor)
    editor.close()
    label(dock.session, frames, 0, 15)
    adapt(dock, lambda: take("adapt"))
    point_at_map(dock)
    take("preview")
    panel = dock.findChildren(AdaptPanel)[0]
    panel.result.use.click()
    hide_preview(dock)
    train(dock, lambda: take("detect"))
    review(dock, frames)
    take("review")
    ask_for_many(dock)
    take("many")
    generate(dock)
    take("export")
    label_face(dock)
    take("face")
    dock.shut_down()
    viewer.close()


def label_all_but_one(session: FlexPoseSession, frames: MannequinSample) -> None:
    """Label the frames of the work list exactly, except the sixth."""
    for number, name in enumerate(session.work):
        if number != 5:
            session.show_name(name)
            label(session, frames, 0, session.skeleton.num_joints)
    session.show_name(session.work[5])


def label_half(session: FlexPoseSession, frames: MannequinSample) -> None:
    """Leave the current frame as somebody leaves it in the middle of clicking."""
    label(session, frames, 0, 11)


def label(session: FlexPoseSession, frames: MannequinSample, first: int, last: int) -> None:
    """Click joints where they are; occluded ones are said to be."""
    assert frames.poses.image_ids is not None
    row = frames.poses.image_ids.index(session.name)
    for joint in range(first, last):
        session.select_joint(joint)
        session.click(*frames.poses.keypoints[row, joint].tolist())
        if frames.poses.visibility[row, joint] != VISIBLE:
            session.select_joint(joint)
            session.toggle_occluded()
    session.select_joint(min(last, session.skeleton.num_joints - 1))


def adapt(dock: FlexPoseDock, midway: Callable[[], None]) -> None:
    """Press *Adapt* with the defaults; ``midway`` is called when the map has come twice."""
    dock.adapt_step.set_open(True)
    rest(0.5)
    maps: list[MapReady] = []
    dock.desk.happened.connect(lambda e: maps.append(e) if isinstance(e, MapReady) else None)
    dock.findChildren(AdaptPanel)[0].start.click()
    wait_until(lambda: len(maps) >= 2 or dock.desk.state == "idle", LONGEST)
    midway()
    wait_until(lambda: dock.desk.state == "idle", LONGEST)


def point_at_map(dock: FlexPoseDock) -> None:
    """Show the pose of one adapted dot, as a click on it does."""
    assert dock.preview is not None
    poses = dock.preview.map
    assert poses._event is not None
    counts = poses._event.counts
    poses.show_row(counts["source"] + counts["shots"] + 3)


def label_face(dock: FlexPoseDock) -> None:
    """Place a face by five clicks, and drag some of its contours where they belong."""
    Path("faces").mkdir()
    truth = write_face(Path("faces"), 1024)
    dock.label_step.set_open(True)
    session = dock.session
    session.create(Path("faces"), load_skeleton("face68"))
    session.placing.place_by_clicks()
    for joints in clicks(session.skeleton).values():
        session.click(*truth[list(joints)].mean(axis=0).tolist())
    session.placing.toggle_contours()
    for joint in (0, 4, 8, 12, 16):
        session.placing.move_handle(session.label, joint, *truth[joint].tolist(), f"drag {joint}")
    session.select_joint(8)


def write_face(folder: Path, size: int) -> NDArray[np.float64]:
    """Draw a face from the neutral pose of face68, turned a little; where its 68 points are."""
    pose = np.array(load_skeleton("face68").neutral_pose)
    near = np.exp(-np.sum((pose - (0, 20)) ** 2, axis=1) / 2 / 45**2)
    pose = pose + np.outer(near, (14, 0)) + np.outer(pose[:, 1] > 48, (0, 5))
    cos, sin = np.cos(0.1), np.sin(0.1)
    points = pose @ np.array([[cos, sin], [-sin, cos]]) * size / 330 + (0.5 * size, 0.48 * size)
    picture = np.full((size, size, 3), (176, 190, 196), np.uint8)
    skin, shade, dark = (224, 178, 148), (196, 146, 118), (70, 46, 36)

    def area(part: slice, colour: tuple[int, int, int], *more: tuple[float, float]) -> None:
        outline = np.concatenate([points[part], np.array(more).reshape(-1, 2)])
        cv2.fillPoly(picture, [fixed(outline)], colour, cv2.LINE_AA, SHIFT)

    def line(part: slice, colour: tuple[int, int, int], width: float) -> None:
        thick = max(round(width * size / 330), 1)
        cv2.polylines(picture, [fixed(points[part])], False, colour, thick, cv2.LINE_AA, SHIFT)

    def oval(
        centre: Sequence[float], wide: float, tall: float, colour: tuple[int, int, int]
    ) -> None:
        axes = tuple((np.array([wide, tall]) * size / 330 * 2**SHIFT).astype(int).tolist())
        middle = tuple(fixed(np.array(centre)).tolist())
        cv2.ellipse(picture, middle, axes, 6, 0, 360, colour, -1, cv2.LINE_AA, SHIFT)

    middle = points[[0, 16]].mean(axis=0)
    oval(middle - (0, 0.03 * size), 82, 92, dark)
    for ear in (points[1], points[15]):
        oval(ear, 11, 20, shade)
    oval(middle, 70.5, 74, skin)
    area(slice(0, 17), skin)
    for brow in (slice(17, 22), slice(22, 27)):
        line(brow, dark, 5)
    for eye in (slice(36, 42), slice(42, 48)):
        area(eye, (250, 250, 248))
        oval(points[eye].mean(axis=0), 4.5, 4.5, (66, 92, 110))
        oval(points[eye].mean(axis=0), 2, 2, (20, 20, 20))
        line(slice(eye.start, eye.start + 4), dark, 2)
    line(slice(27, 31), shade, 3)
    line(slice(31, 36), shade, 4)
    area(slice(48, 60), (186, 92, 92))
    area(slice(60, 68), (120, 44, 48))
    cv2.imwrite(str(folder / "face.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return points


def fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Positions in the fractions of pixels that OpenCV draws with."""
    return np.round(points * 2**SHIFT).astype(np.int32)


def hide_preview(dock: FlexPoseDock) -> None:
    """Close what the adaptation showed below the picture, as an annotator does."""
    place = dock.preview.parentWidget() if dock.preview is not None else None
    assert place is not None
    place.hide()


def train(dock: FlexPoseDock, midway: Callable[[], None]) -> None:
    """Press *Train detector*; ends when its suggestions are there to be reviewed."""
    dock.detect_step.set_open(True)
    rest(0.5)
    panel, desk = dock.detect_panel, dock.desk
    panel.length.setItemData(0, STEPS)
    panel.length.setCurrentIndex(0)
    panel.form.set_values({"heatmaps": {"puppets": PUPPETS}})
    panel.start.click()
    wait_until(
        lambda: desk.state == "idle" or (desk.last is not None and desk.last.step >= MIDWAY),
        LONGEST,
    )
    midway()
    wait_until(lambda: dock.reviewer.loaded, LONGEST)


def review(dock: FlexPoseDock, frames: MannequinSample) -> None:
    """Mend and accept the first suggestions, and stop at one that is nearly right."""
    names = frames.poses.image_ids
    assert names is not None
    for _ in range(5):
        truth = frames.poses.keypoints[names.index(dock.session.name)]
        for joint, _ in dock.reviewer.doubts(dock.session.name, 3):
            number = dock.session.skeleton.joints.index(joint.replace(" ", "_"))
            dock.session.move_joint(number, *truth[number].tolist(), f"move {joint}")
        dock.session.accept()
    doubtful = dock.reviewer.doubts(dock.session.name)[0][0]
    dock.session.select_joint(dock.session.skeleton.joints.index(doubtful.replace(" ", "_")))


def ask_for_many(dock: FlexPoseDock) -> None:
    """Open the preview of accepting many, with a threshold that some suggestions reach."""
    dock.reviewer.ask_for_many()
    many = dock.review_panel.many
    while len(dock.reviewer.preview(many.share).names) < 8 and many.share > 0.5:
        many.slider.setValue(many.slider.value() - 1)
    rest(2.0)  # for the small pictures, which come one by one


def generate(dock: FlexPoseDock) -> None:
    """Export the labels, and two thousand poses of the adapted model."""
    dock.export_step.set_open(True)
    rest(0.5)
    panel = dock.findChildren(ExportPanel)[0]
    panel.labels.export(Path("labels.json"))
    panel.poses.count.setValue(2000)
    panel.poses.target.setText("poses.json")
    panel.poses.button.click()
    wait_until(lambda: dock.desk.state == "idle", LONGEST)


def show_layers(viewer: napari.Viewer, *, shown: bool) -> None:
    """napari's own docks: an annotator who wants room closes them."""
    for dock in (
        viewer.window._qt_viewer.dockLayerControls,
        viewer.window._qt_viewer.dockLayerList,
    ):
        dock.setVisible(shown)


def rest(seconds: float) -> None:
    """Let Qt's loop run, so that everything is drawn."""
    loop = QEventLoop()
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()


def save(picture: QPixmap, path: Path) -> None:
    """A PNG file; Pillow packs it tighter than Qt does."""
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    picture.save(buffer, "PNG")
    file = io.BytesIO()
    Image.open(io.BytesIO(bytes(data.data()))).convert("RGB").save(file, "PNG", optimize=True)
    atomic_write_bytes(path, file.getvalue())


if __name__ == "__main__":
    main()
