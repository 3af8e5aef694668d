"""Accepting many suggestions at once, with a look at what that takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, QTimer
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPen, QPixmap
from qtpy.QtWidgets import (
    QApplication,
    QGridLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QWidget,
)

from flexpose.annotation.review import REACH
from flexpose.errors import FlexPoseError
from flexpose.geometry import boxes_to_crops, image_to_unit, tight_boxes
from flexpose.skeleton import Skeleton
from napari_flexpose.convert import SIDE_COLOURS
from napari_flexpose.review import Preview, Reviewer
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.widgets.parts import action_button, attempt, column, quiet_label, row
from napari_flexpose.words import counted, of_hundred, percent

ACROSS, DOWN = 4, 2
SIDE = 72
"""Thumbnails of a preview in each direction, and their side in pixels."""
ROOM = 0.7
"""Share of a thumbnail that the pose takes."""
SURE_ENOUGH = 90
"""Percent: the threshold that the preview begins with."""


class ManyBox(QWidget):
    """A threshold, what accepting all suggestions above it would take, and a button for it.

    Parameters
    ----------
    accepted : called when they were
    """

    def __init__(
        self, session: FlexPoseSession, reviewer: Reviewer, accepted: Callable[[], None]
    ) -> None:
        super().__init__()
        self._session, self._reviewer, self._accepted = session, reviewer, accepted
        self._shown: tuple[str, ...] = ()
        self._left: list[int] = []
        self._came_from: QWidget | None = None
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(50, 99)
        self.slider.setValue(SURE_ENOUGH)
        self.slider.setAccessibleName("How sure a suggestion has to be, in percent")
        self.slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.slider.valueChanged.connect(lambda _: self.refresh())
        self.threshold = QLabel()
        self.words = quiet_label()
        self.least = quiet_label("The least sure of them:")
        self.tiles = [self._tile() for _ in range(ACROSS * DOWN)]
        self.button = action_button("", "One undo takes it back.", self._accept, primary=True)
        grid = QGridLayout()
        grid.setSpacing(4)
        for place, tile in enumerate(self.tiles):
            grid.addWidget(tile, place // ACROSS, place % ACROSS)
        outer = column(self)
        outer.addLayout(row(self.threshold, self.slider, stretch=(0, 1)))
        outer.addWidget(self.words)
        outer.addWidget(self.least)
        outer.addLayout(grid)
        outer.addWidget(self.button)
        QWidget.setTabOrder(self.slider, self.button)
        self._pump = QTimer(self)
        self._pump.timeout.connect(self._draw_one)

    @property
    def share(self) -> float:
        """The threshold, 0 to 1."""
        return self.slider.value() / 100

    def open(self, *, take_keys: bool = False) -> None:
        """Show what would be taken."""
        self.show()
        self.refresh()
        if take_keys:
            self._came_from = QApplication.focusWidget()
            self.slider.setFocus()

    def close_box(self) -> None:
        """Hide, and give the keys back."""
        self.stop()
        if self._came_from is not None:
            self._came_from.setFocus()
            self._came_from = None
        self.hide()

    def stop(self) -> None:
        """Draw no further thumbnails."""
        self._pump.stop()
        self._shown = ()

    def refresh(self) -> None:
        """Say what would be taken now."""
        if self.isHidden() or not self._reviewer.loaded:
            return
        preview = self._reviewer.preview(self.share)
        self.threshold.setText(f"At least {percent(self.share)} sure")
        self.words.setText(preview_words(preview))
        count = len(preview.names)
        self.button.setText(f"Accept {counted(count, 'frame')}")
        self.button.setEnabled(count > 0)
        self.least.setVisible(count > len(self.tiles))
        names = preview.names[: len(self.tiles)]
        if names != self._shown:
            self._show_tiles(names)

    def _accept(self) -> None:
        attempt(self._session, self._reviewer.accept_above, self.share)
        self.close_box()
        self._accepted()

    # ------------------------------------------------------------ thumbnails

    def _tile(self) -> QToolButton:
        tile = QToolButton()
        tile.setObjectName("action")
        tile.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        tile.setIconSize(QSize(SIDE, SIDE))
        tile.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        tile.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        tile.clicked.connect(lambda: attempt(self._session, self._go, tile))
        return tile

    def _go(self, tile: QToolButton) -> None:
        self._session.show_name(self._shown[self.tiles.index(tile)])

    def _show_tiles(self, names: tuple[str, ...]) -> None:
        self._shown = names
        blank = QPixmap(SIDE, SIDE)
        blank.fill(Qt.GlobalColor.transparent)
        for place, tile in enumerate(self.tiles):
            tile.setVisible(place < len(names))
            if place < len(names):
                sure = self._reviewer.sure(names[place])
                tile.setText("" if sure is None else percent(sure))
                tile.setToolTip(names[place])
                tile.setAccessibleName(f"{names[place]}, {tile.text()} sure")
                tile.setIcon(QIcon(blank))
        self._left = [*range(len(names))]
        self._pump.start(0)

    def _draw_one(self) -> None:
        """One image a turn of the event loop, so that the window goes on."""
        session = self._session
        if not self._left or session.frames is None:
            self._pump.stop()
            return
        place = self._left.pop(0)
        name = self._shown[place]
        try:
            pixels = session.frames.read(session.number_of(name))
        except FlexPoseError:
            return  # the picture itself says so when it is shown
        points = session.label_of(name).points
        self.tiles[place].setIcon(QIcon(thumbnail(pixels, points, session.skeleton, SIDE)))


def thumbnail(
    pixels: NDArray[np.uint8], points: NDArray[np.float32], skeleton: Skeleton, side: int
) -> QPixmap:
    """The person in an image uint8 (H, W, 3) with the pose (J, 2) over it, ``side`` pixels."""
    crop = boxes_to_crops(tight_boxes(points[None]), fill=ROOM, min_side=8.0)
    places = (image_to_unit(points[None], crop)[0] + 1) / 2 * side
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    found = QPixmap(side, side)
    found.fill(QColor("#16191d"))
    painter = QPainter(found)
    painter.setRenderHints(
        QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform
    )
    x, y, extent = crop[0].tolist()
    scale = side / extent
    whole = QRectF((-0.5 - x) * scale, (-0.5 - y) * scale, width * scale, height * scale)
    painter.drawImage(whole, image)
    for colour, wide in ((None, 2.8), (SIDE_COLOURS, 1.6)):  # dark below, for bright images
        for (a, b), name in zip(skeleton.edges, skeleton.edge_sides, strict=True):
            if np.isfinite(places[[a, b]]).all():
                painter.setPen(QPen(QColor("#111111" if colour is None else colour[name]), wide))
                painter.drawLine(QPointF(*places[a].tolist()), QPointF(*places[b].tolist()))
    painter.end()
    return found


def preview_words(preview: Preview) -> str:
    """What accepting many would take and be worth, in words."""
    words = (
        f"{len(preview.names)} of {counted(preview.of, 'waiting frame')}. About "
        f"{of_hundred(preview.accuracy)} joints lie within {percent(REACH)} of the person's size."
        if preview.names
        else "No waiting frame is that sure."
    )
    if preview.incomplete:
        words += f" {preview.incomplete} more sure enough, but without a place for every joint."
    return words
