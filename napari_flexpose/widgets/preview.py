"""What an adaptation does to poses, while it runs: three rows of pictures, and the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPalette
from qtpy.QtSvg import QSvgGenerator
from qtpy.QtWidgets import QFileDialog, QPushButton, QSizePolicy, QSlider, QSplitter, QWidget

from flexpose.configs.adaptation import AdaptConfig
from flexpose.errors import FlexPoseError
from flexpose.events import JobEvent, MapReady, PreviewReady
from flexpose.geometry import canvas_to_unit
from flexpose.io.base import atomic_write_bytes
from flexpose.skeleton import Skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio
from napari_flexpose.widgets.drawing import draw_pose
from napari_flexpose.widgets.job_bar import while_alive
from napari_flexpose.widgets.parts import column, quiet_label, row
from napari_flexpose.widgets.pose_map import PoseMap

ROWS = ("Source", "Adapted", "Nearest shot")
_ADAPTED = 1
_COLUMNS, _FEWEST = 8, 5  # of the preview; that are shown where there is little room
_GAP, _WIDEST_GAP = 5.0, 26.0
_EXPORTED = (1600, 590)  # pixels of a PNG, units of an SVG


class PreviewPane(QWidget):
    """The newest preview of an adaptation; wide, for a dock at the bottom."""

    def __init__(
        self,
        session: FlexPoseSession,
        studio: Studio,
        desk: JobDesk,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._studio, self._desk = studio, desk
        self.rows = PreviewRows()
        self.map = PoseMap()
        self.hint = quiet_label()
        self.save = QPushButton("Save picture…")
        self.save.setToolTip("Save the three rows as PNG or SVG.")
        self.save.clicked.connect(self._save)
        self.save.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.blend = QSlider(Qt.Orientation.Horizontal)
        self.blend.setRange(0, 100)
        self.blend.setValue(100)
        self.blend.setPageStep(25)
        self.blend.setFixedWidth(150)
        self.blend.setToolTip("Slide to see where the adaptation moves each pose.")
        self.blend.setAccessibleName("From before to after")
        self.blend.valueChanged.connect(self.rows.set_blend)
        left = QWidget()
        inner = column(left)
        inner.addLayout(row(self.hint, stretch=(1,)))
        inner.addWidget(self.rows, 1)
        slide = row(quiet_label("Before", wrap=False), self.blend, quiet_label("After", wrap=False))
        slide.addStretch(1)
        slide.addWidget(self.save)
        inner.addLayout(slide)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(left)
        split.addWidget(self.map)
        split.setSizes([620, 380])
        split.setStretchFactor(0, 62)
        split.setStretchFactor(1, 38)
        split.setChildrenCollapsible(False)
        column(self, margin=6).addWidget(split)
        self.clear()
        self._on_state(desk.state)
        while_alive(self, desk.happened, self._on_event)
        while_alive(self, desk.state_changed, self._on_state)
        while_alive(self, session.project_changed, self.clear)

    def clear(self) -> None:
        """Show nothing but where the pictures will be."""
        self.rows.clear()
        self.blend.setValue(100)
        for control in (self.blend, self.save):
            control.setEnabled(False)
        self.hint.setText("Adapt a prior, and its poses appear here while it learns.")
        self.map.say(
            "The map appears with the first preview."
            if self._studio.has_map
            else "The map needs one more package. Install it with: pip install openTSNE"
        )

    def export(self, path: Path) -> None:
        """Write the rows as PNG or SVG, by the name's ending.

        Raises
        ------
        FlexPoseError : the ending is another, or the file cannot be written.
        """
        kinds = {".png": self.rows.png, ".svg": self.rows.svg}
        if path.suffix.lower() not in kinds:
            raise FlexPoseError(f"{path.name} ends neither in .png nor in .svg.", "Choose one.")
        atomic_write_bytes(path, kinds[path.suffix.lower()]())

    def _on_state(self, state: str) -> None:
        request = self._desk.request
        if state == "running" and request is not None and request.command == "adapt":
            self.clear()
            self.hint.setText("The first pictures come after some steps.")

    def _on_event(self, event: JobEvent) -> None:
        config = self._desk.request.config if self._desk.request is not None else None
        if not isinstance(config, AdaptConfig):
            return
        if isinstance(event, PreviewReady):
            self.rows.show_preview(event, self._studio.skeleton_of(config.prior))
            self.save.setEnabled(True)
            self.blend.setEnabled(self.rows.can_blend)
            self.hint.setText(
                f"After step {event.step}. Each column is one pose of the prior, before and after."
            )
        elif isinstance(event, MapReady):
            self.map.show_map(event, self._studio.skeleton_of(config.prior))

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save picture", "preview.png", "Picture (*.png);;Drawing (*.svg)"
        )
        if not path:
            return
        try:
            self.export(Path(path))
        except FlexPoseError as error:
            self.hint.setText(str(error))


class PreviewRows(QWidget):
    """Three rows of eight poses, drawn as lines, so sharp at any size."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.preview: PreviewReady | None = None
        self._share = 1.0
        self._skeleton: Skeleton | None = None
        self._pictures: list[QImage] = []
        self.setMinimumSize(420, 130)
        self.setAccessibleName("Preview: source, adapted and nearest shot")

    def sizeHint(self) -> QSize:
        """Eight tiles of some 80 pixels."""
        return QSize(760, 270)

    def clear(self) -> None:
        """Show empty tiles."""
        self.preview = None
        self.update()

    def show_preview(self, preview: PreviewReady, skeleton: Skeleton | None) -> None:
        """Show another preview; without a skeleton or keypoints the engine's own pictures."""
        self.preview, self._skeleton, self._pictures = preview, skeleton, []
        if skeleton is None or preview.keypoints is None:
            self._pictures = [_picture(image) for image in preview.images]
        self.update()

    @property
    def can_blend(self) -> bool:
        """Whether there are poses that can be moved, and not only the engine's pictures."""
        return self.preview is not None and not self._pictures

    def set_blend(self, percent: int) -> None:
        """Move the adapted poses back towards the source poses above them; 100 is where they are.

        Both come from the same latent, so each joint goes straight from one to the other.
        """
        self._share = percent / 100
        self.update()

    def pose(self, number: int) -> NDArray[np.floating]:
        """Pose (J, 2) of a tile in canvas pixels, row by row, as the slider has it."""
        assert self.preview is not None
        assert self.preview.keypoints is not None
        poses = self.preview.keypoints
        if number // _COLUMNS != _ADAPTED:
            return poses[number]
        return (1 - self._share) * poses[number - _COLUMNS] + self._share * poses[number]

    def paintEvent(self, event: object) -> None:
        """Draw the rows in the theme's text colour."""
        painter = QPainter(self)
        self._paint(painter, QRectF(self.rect()), self.palette().color(QPalette.ColorRole.Text))
        painter.end()

    def png(self) -> bytes:
        """The rows as a PNG file on a white ground."""
        image = QImage(QSize(*_EXPORTED), QImage.Format.Format_RGB32)
        image.fill(QColor("white"))
        painter = QPainter(image)
        self._paint(painter, _sheet(), QColor("#222222"))
        painter.end()
        data, buffer = _buffer()
        image.save(buffer, "PNG")
        return bytes(data.data())

    def svg(self) -> bytes:
        """The rows as an SVG file."""
        data, buffer = _buffer()
        generator = QSvgGenerator()
        generator.setOutputDevice(buffer)
        generator.setSize(QSize(*_EXPORTED))
        generator.setViewBox(QRectF(0, 0, *_EXPORTED))
        generator.setTitle("FlexPose preview")
        painter = QPainter(generator)
        self._paint(painter, _sheet(), QColor("#222222"))
        painter.end()
        return bytes(data.data())

    # ------------------------------------------------------------ parts

    def _paint(self, painter: QPainter, area: QRectF, ink: QColor) -> None:
        """Titles on the left, tiles of one size in the middle of what is left."""
        font = painter.font()
        font.setPointSizeF(max(9.0, min(area.height() / 26, 20.0)))
        painter.setFont(font)
        titles = max(painter.fontMetrics().horizontalAdvance(row) for row in ROWS) + 10.0
        tall = (area.height() - (len(ROWS) - 1) * _GAP) / len(ROWS)
        wide = area.width() - titles + _GAP
        # rather fewer poses that can be seen than all of them
        columns = min(max(round(wide / (tall + _GAP)), _FEWEST), _COLUMNS)
        side = min(wide / columns - _GAP, tall)
        room = (area.width() - titles - columns * side) / (columns - 1)
        step = side + min(max(room, _GAP), _WIDEST_GAP)
        top = area.y() + (area.height() - len(ROWS) * (side + _GAP) + _GAP) / 2
        for number, title in enumerate(self.titles):
            y = top + number * (side + _GAP)
            painter.setPen(ink)
            painter.drawText(
                QRectF(area.x(), y, titles, side),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
                title,
            )
            for place in range(columns):
                tile = QRectF(area.x() + titles + place * step, y, side, side)
                self._paint_tile(painter, tile, number * _COLUMNS + place)

    @property
    def titles(self) -> tuple[str, ...]:
        """What the rows show; a pose between two is not called adapted."""
        between = self.can_blend and self._share < 1
        moved = f"{100 * self._share:.0f} % moved" if between else ROWS[_ADAPTED]
        return (*ROWS[:_ADAPTED], moved, *ROWS[_ADAPTED + 1 :])

    def _paint_tile(self, painter: QPainter, tile: QRectF, number: int) -> None:
        if self.preview is None:
            painter.fillRect(tile, QColor(128, 128, 128, 40))
        elif self._pictures:
            painter.drawImage(tile, self._pictures[number])
        elif self._skeleton is not None:
            pose = canvas_to_unit(self.pose(number), self.preview.images.shape[1])
            draw_pose(painter, tile, pose, self._skeleton)


def _picture(image: np.ndarray) -> QImage:
    height, width, _ = image.shape
    data = np.ascontiguousarray(image)
    return QImage(data.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()


def _sheet() -> QRectF:
    """A file's area within its margin."""
    margin = 20.0
    return QRectF(0, 0, *_EXPORTED).adjusted(margin, margin, -margin, -margin)


def _buffer() -> tuple[QByteArray, QBuffer]:
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    return data, buffer
