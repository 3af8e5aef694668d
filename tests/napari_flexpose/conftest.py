"""A window with small images in it, driven as a user drives it: by mouse and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.skeleton import Skeleton, load_skeleton
from napari_flexpose.session import FlexPoseSession

SIZE = (120, 100)  # width, height of the images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of four images, each of another grey."""
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(4):
        pixels = np.full((SIZE[1], SIZE[0], 3), 40 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


@pytest.fixture
def body() -> Skeleton:
    """The skeleton of the shipped priors, 15 joints."""
    return load_skeleton("body15")


@pytest.fixture
def session(images: Path, puppet: Skeleton) -> Iterator[FlexPoseSession]:
    """A session on the images, without a window."""
    session = FlexPoseSession()
    session.create(images, puppet)
    yield session
    session.close()


@pytest.fixture
def qtbot(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The patience that two windows on two busy cores need; pytest-qt gives up after 5 seconds."""
    monkeypatch.setattr(qtbot, "waitUntil", partial(qtbot.waitUntil, timeout=60_000))
    return qtbot


@dataclass
class User:
    """Presses keys and the mouse on the picture; positions are (x, y) image pixels."""

    qtbot: Any
    viewer: Any
    dock: Any

    @property
    def canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas

    def pixel(self, x: float, y: float) -> Any:
        """The place on the canvas widget at which an image position is shown."""
        from qtpy.QtCore import QPoint

        camera, native = self.viewer.scene.camera, self.canvas.native
        row, column = camera.center[-2:]
        return QPoint(
            round(native.width() / 2 + (x - column) * camera.zoom),
            round(native.height() / 2 + (y - row) * camera.zoom),
        )

    def click(self, x: float, y: float) -> None:
        self.drag((x, y))

    def drag(self, *stops: tuple[float, float], shift: bool = False) -> None:
        """Press at the first stop, move over the others, release at the last."""
        from qtpy.QtCore import Qt

        keys = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        left, native = Qt.MouseButton.LeftButton, self.canvas.native
        pixels = [self.pixel(*stop) for stop in stops]
        self.qtbot.mouseMove(native, pixels[0])
        self.qtbot.mousePress(native, left, keys, pixels[0])
        for pixel in pixels[1:]:
            self.qtbot.wait(15)  # quicker moves are dropped
            self._move(native, pixel, keys)
        self.qtbot.mouseRelease(native, left, keys, pixels[-1])

    def _move(self, native: Any, pixel: Any, keys: Any) -> None:
        """A move with the button held, which QTest cannot say."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        event = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(pixel),
            QPointF(native.mapToGlobal(pixel)),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            keys,
        )
        QApplication.sendEvent(native, event)

    def wheel(self, x: float, y: float, steps: int) -> None:
        from qtpy.QtCore import QPoint, QPointF, Qt
        from qtpy.QtGui import QWheelEvent
        from qtpy.QtWidgets import QApplication

        native, pixel = self.canvas.native, self.pixel(x, y)
        zoom = self.viewer.scene.camera.zoom
        event = QWheelEvent(
            QPointF(pixel),
            QPointF(native.mapToGlobal(pixel)),
            QPoint(0, 0),
            QPoint(0, 120 * steps),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(native, event)
        self.qtbot.waitUntil(lambda: self.viewer.scene.camera.zoom != zoom)

    def key(self, name: str, *, hold: bool = False) -> None:
        """Press a key, such as ``"X"`` or ``"Control+Z"``; release it unless it is held."""
        native, key, keys = self.canvas.native, *_key(name)
        self.qtbot.keyPress(native, key, keys)
        if not hold:
            self.qtbot.keyRelease(native, key, keys)

    def release(self, name: str) -> None:
        self.qtbot.keyRelease(self.canvas.native, *_key(name))

    def label_all(self) -> list[tuple[float, float]]:
        """Click every joint of the frame once; where."""
        count = self.dock.session.skeleton.num_joints
        places = [(20.0 + 5 * joint, 20.0 + 4 * joint) for joint in range(count)]
        for place in places:
            self.click(*place)
        return places


def _key(name: str) -> tuple[Any, Any]:
    from qtpy.QtCore import Qt

    *modifiers, last = name.split("+")
    keys = Qt.KeyboardModifier.NoModifier
    for modifier in modifiers:
        keys |= getattr(Qt.KeyboardModifier, f"{modifier}Modifier")
    names = {"Enter": "Return", "[": "BracketLeft", "]": "BracketRight", "-": "Minus", "=": "Equal"}
    return getattr(Qt.Key, f"Key_{names.get(last, last)}"), keys


@pytest.fixture
def open_dock(
    make_napari_viewer: Callable[..., Any], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., User]:
    """``(images, skeleton) -> User`` of a new window with the dock, on these images if given."""
    from napari_flexpose.widgets.main import FlexPoseDock

    monkeypatch.setenv("NAPARI_STRICT_QT", "1")

    def make(images: Path | None = None, skeleton: Skeleton | None = None) -> User:
        viewer = make_napari_viewer(show=True)
        dock = FlexPoseDock(viewer)
        viewer.window.add_dock_widget(dock, name="FlexPose", area="right")
        if images is not None:
            dock.session.create(images, skeleton or load_skeleton("body15"))
        qtbot.waitUntil(lambda: viewer.window._qt_viewer.canvas.native.width() > 100)
        qtbot.wait(50)
        return User(qtbot, viewer, dock)

    return make


@pytest.fixture
def user(open_dock: Callable[..., User], images: Path) -> User:
    """Somebody who has opened the images."""
    return open_dock(images)
