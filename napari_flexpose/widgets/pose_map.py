"""The map of poses: source, shots and adapted poses as dots, each shown when pointed at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from flexpose.events import MapReady
from flexpose.skeleton import Skeleton
from napari_flexpose.widgets.drawing import PoseCard
from napari_flexpose.widgets.parts import column, quiet_label

_NEAR = 14.0  # screen pixels from a dot that still mean it


@dataclass(frozen=True)
class _Look:
    """How the dots of one kind are drawn: told apart by shape and size, not by colour alone."""

    words: str
    symbol: str
    size: int
    fill: str
    edge: str | None = None


LOOKS: Mapping[str, _Look] = {
    "source": _Look("Source pose", "o", 4, "#8a929b90"),
    "adapted": _Look("Adapted pose", "o", 8, "#cc79a7", "#5b2f49"),
    "shots": _Look("Your shot", "d", 15, "#f0e442", "#111111"),
}
"""Drawn in this order, so that shots lie on top."""


class PoseMap(QWidget):
    """A t-SNE map that never moves: only the adapted poses do."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._event: MapReady | None = None
        self._skeleton: Skeleton | None = None
        self._pinned = False
        self.plot = pg.PlotWidget(background=None)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setAspectLocked(True)
        for side in ("left", "bottom"):
            self.plot.hideAxis(side)
        self.plot.setAccessibleName("Map of poses")
        self.dots = {kind: self._dots(look) for kind, look in LOOKS.items()}
        for item in self.dots.values():
            self.plot.addItem(item)
        self.ring = pg.ScatterPlotItem(
            size=20, symbol="o", brush=None, pen=pg.mkPen("#56b4e9", width=2)
        )
        self.plot.addItem(self.ring)
        self.plot.scene().sigMouseMoved.connect(self._on_moved)
        self.plot.scene().sigMouseClicked.connect(self._on_clicked)
        self.card = PoseCard(self.plot)
        self.words = quiet_label()
        self.words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        outer = column(self)
        outer.addLayout(_legend())
        outer.addWidget(self.words, 1)
        outer.addWidget(self.plot, 1)
        self.say("The map appears with the first preview.")

    def say(self, words: str) -> None:
        """Show words in the place of the map, until there is one."""
        self._event = None
        self.words.setText(words)
        self.words.show()
        self.plot.hide()
        self._unpin()

    def show_map(self, event: MapReady, skeleton: Skeleton | None) -> None:
        """Show these places; source and shots are drawn once a run."""
        first = self._event is None or not self._same_ground(event)
        self._event, self._skeleton = event, skeleton
        if first:
            for kind in ("source", "shots"):
                self.dots[kind].setData(pos=_upright(event.places[self._rows(kind)]))
            self.words.hide()
            self.plot.show()
            self._fit()
        self.dots["adapted"].setData(pos=_upright(event.places[self._rows("adapted")]))
        if self._pinned:
            self._unpin()  # the dot has moved on

    # ------------------------------------------------------------ pointing

    def nearest(self, at: QPointF) -> int | None:
        """Row of the dot that a place in the map's own units means, None when none is near."""
        if self._event is None:
            return None
        places = _upright(self._event.places)
        pixel_x, pixel_y = self.plot.getViewBox().viewPixelSize()
        away = (places - [at.x(), at.y()]) / [pixel_x, pixel_y]
        distance = np.hypot(away[:, 0], away[:, 1])
        distance[self._rows("source")] += 3  # of two dots on one spot the upper one is meant
        row = int(distance.argmin())
        return row if distance[row] <= _NEAR else None

    def show_row(self, row: int | None) -> None:
        """Show the pose of a dot beside the map's dots, or none."""
        if row is None or self._event is None or self._skeleton is None:
            self.card.hide()
            self.ring.setData(pos=np.zeros((0, 2)))
            return
        place = _upright(self._event.places[row : row + 1])
        self.ring.setData(pos=place)
        self.card.show_pose(self._event.poses[row], self._skeleton, self._row_words(row))
        seen = self.plot.getViewBox().mapViewToScene(QPointF(*place[0].tolist()))
        on_left = seen.x() > self.plot.width() / 2
        self.card.move(6 if on_left else self.plot.width() - self.card.width() - 6, 6)
        self.card.raise_()

    def _on_moved(self, scene: QPointF) -> None:
        if not self._pinned:
            self.show_row(self.nearest(self.plot.getViewBox().mapSceneToView(scene)))

    def _on_clicked(self, event: Any) -> None:
        if event.double():
            self._fit()
            return
        row = self.nearest(self.plot.getViewBox().mapSceneToView(event.scenePos()))
        self._pinned = row is not None
        self.show_row(row)

    def changeEvent(self, event: Any) -> None:
        """Forget the ground that the plot painted in another theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange):
            self.plot.resetCachedContent()

    def leaveEvent(self, event: object) -> None:
        """Hide the pose that was only pointed at."""
        if not self._pinned:
            self.show_row(None)

    # ------------------------------------------------------------ parts

    def _dots(self, look: _Look) -> pg.ScatterPlotItem:
        pen = pg.mkPen(look.edge, width=1.2) if look.edge else pg.mkPen(None)
        return pg.ScatterPlotItem(
            size=look.size, symbol=look.symbol, brush=pg.mkBrush(QColor(*_rgba(look.fill))), pen=pen
        )

    def _fit(self) -> None:
        if self._event is None:
            return
        ground = _upright(self._event.places)
        (x0, y0), (x1, y1) = ground.min(axis=0), ground.max(axis=0)
        self.plot.setRange(xRange=(x0, x1), yRange=(y0, y1), padding=0.04)

    def _same_ground(self, event: MapReady) -> bool:
        assert self._event is not None
        fixed = event.counts["source"] + event.counts["shots"]
        return event.counts == self._event.counts and np.array_equal(
            event.places[:fixed], self._event.places[:fixed]
        )

    def _rows(self, kind: str) -> slice:
        assert self._event is not None
        start = 0
        for name in ("source", "shots", "adapted"):
            stop = start + self._event.counts[name]
            if name == kind:
                return slice(start, stop)
            start = stop
        raise KeyError(kind)

    def _row_words(self, row: int) -> str:
        for kind, look in LOOKS.items():
            rows = self._rows(kind)
            if rows.start <= row < rows.stop:
                return f"{look.words} {row - rows.start + 1}" if kind == "shots" else look.words
        return ""

    def _unpin(self) -> None:
        self._pinned = False
        self.show_row(None)


def _upright(places: NDArray[np.floating]) -> NDArray[np.floating]:
    """Map places as pyqtgraph takes them: contiguous float64."""
    return np.ascontiguousarray(places, dtype=np.float64)


def _rgba(text: str) -> tuple[int, ...]:
    """``#rrggbb`` or ``#rrggbbaa``; Qt would read the latter as aarrggbb."""
    return tuple(bytes.fromhex(text.removeprefix("#")))


def _legend() -> QHBoxLayout:
    """The three kinds, each with its mark as it is drawn."""
    tip = (
        "A t-SNE map: poses that lie close are alike. It is made once from the source poses and "
        "never moves; with each preview the adapted poses are placed anew."
    )
    line = QHBoxLayout()
    line.setSpacing(4)
    line.addStretch(1)
    for kind, words in (("source", "source"), ("shots", "your shots"), ("adapted", "adapted")):
        mark, name = QLabel(), QLabel(words)
        mark.setPixmap(_mark(LOOKS[kind]))
        for label in (mark, name):
            label.setToolTip(tip)
            line.addWidget(label)
        line.addSpacing(8)
    line.addStretch(1)
    return line


def _mark(look: _Look) -> QPixmap:
    """A dot or diamond with its outline, twice as fine as it is shown."""
    size = 2 * max(look.size, 8) + 6
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(QColor(look.edge), 2) if look.edge else QPen(Qt.PenStyle.NoPen)
    painter.setPen(pen)
    painter.setBrush(QColor(*_rgba(look.fill[:7])))
    painter.translate(size / 2, size / 2)
    painter.scale(size - 6, size - 6)
    pen.setCosmetic(True)
    painter.setPen(pen)
    painter.drawPath(pg.graphicsItems.ScatterPlotItem.Symbols[look.symbol])
    painter.end()
    pixmap.setDevicePixelRatio(2)
    return pixmap
