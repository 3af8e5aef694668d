"""Poses drawn as lines: sharp at every size, in pictures on the screen and in files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QWidget

from flexpose.skeleton import Skeleton
from napari_flexpose.convert import SIDE_COLOURS

TILE = QColor("#16191d")
"""Behind every drawn pose, in dark and light themes: the middle of a body is white."""
_RADIUS = 4.0


def draw_pose(
    painter: QPainter, tile: QRectF, pose: NDArray[np.floating], skeleton: Skeleton
) -> None:
    """Draw one pose on a dark tile.

    Parameters
    ----------
    pose : float (J, 2), unit space: -1 and 1 are the borders of the tile; NaN joints are left out
    """
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(TILE)
    painter.drawRoundedRect(tile, _RADIUS, _RADIUS)
    painter.setClipRect(tile)
    places = _places(tile, pose)
    width = max(tile.width() / 34, 1.0)
    for (a, b), side in zip(skeleton.edges, skeleton.edge_sides, strict=True):
        if np.isfinite(places[[a, b]]).all():
            pen = QPen(QColor(SIDE_COLOURS[side]), width)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            painter.setPen(pen)
            painter.drawLine(QPointF(*places[a].tolist()), QPointF(*places[b].tolist()))
    if not skeleton.edges:
        _draw_dots(painter, places, width)
    painter.restore()


def _draw_dots(painter: QPainter, places: NDArray[np.floating], width: float) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(SIDE_COLOURS["middle"]))
    for place in places[np.isfinite(places).all(axis=1)]:
        painter.drawEllipse(QPointF(*place.tolist()), width, width)


def _places(tile: QRectF, pose: NDArray[np.floating]) -> NDArray[np.floating]:
    corner = np.array([tile.x(), tile.y()])
    return corner + (np.asarray(pose, np.float64) + 1) / 2 * [tile.width(), tile.height()]


class PoseCard(QWidget):
    """One pose with a word below it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.pose: NDArray[np.floating] | None = None
        self.words = ""
        self._skeleton: Skeleton | None = None
        self.resize(118, 138)
        self.hide()

    def show_pose(self, pose: NDArray[np.floating], skeleton: Skeleton, words: str) -> None:
        """Show another pose, float (J, 2) in unit space."""
        self.pose, self._skeleton, self.words = pose, skeleton, words
        self.setAccessibleName(words)
        self.show()
        self.update()

    def paintEvent(self, event: object) -> None:
        """Draw the frame, the pose and the word."""
        if self.pose is None or self._skeleton is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(QPen(QColor("#8a929b"), 1))
        painter.setBrush(TILE)
        painter.drawRoundedRect(frame, _RADIUS, _RADIUS)
        side = frame.width() - 8
        draw_pose(painter, QRectF(4, 3, side, side), self.pose, self._skeleton)
        painter.setPen(QColor("#f0f1f2"))
        below = QRectF(0, side + 2, self.width(), self.height() - side - 4)
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, self.words)
        painter.end()
