"""Small pieces that the panels share: steps that fold, buttons, lists, a drawn skeleton."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.utils.theme import get_theme, template
from numpy.typing import NDArray
from psygnal import EmitLoopError
from qtpy.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import (
    QColor,
    QFontMetrics,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QToolButton,
    QTreeWidget,
    QVBoxLayout,
    QWidget,
)

from flexpose.errors import FlexPoseError
from flexpose.skeleton import Skeleton
from napari_flexpose.convert import SIDE_COLOURS
from napari_flexpose.session import FlexPoseSession

GAP = 6
"""Pixels between things that belong together."""

STYLE = """
#stepHeader {
  background-color: {{ foreground }}; border: none; border-radius: 3px;
  padding: 5px 6px; text-align: left; font-weight: bold;
}
#stepHeader:hover { background-color: {{ primary }}; }
#stepHeader:focus { border: 1px solid {{ current }}; }
#stepState {
  background: transparent; color: {{ text }}; font-weight: normal; padding-right: 8px;
}
#quiet { color: {{ text }}; }
#notice {
  background-color: {{ foreground }}; border-left: 3px solid {{ warning }}; padding: 6px;
}
#said { color: {{ text }}; padding: 2px 0px; }
#said[serious="true"] { color: {{ error }}; }
QToolButton#action {
  background-color: {{ foreground }}; color: {{ text }};
  border: 1px solid {{ foreground }}; border-radius: 3px; padding: 3px 4px;
}
QToolButton#action:hover { background-color: {{ primary }}; }
QToolButton#action:pressed, QToolButton#action:checked { background-color: {{ current }}; }
QToolButton#action[folds="true"]:checked { background-color: {{ foreground }}; }
QToolButton#action:focus { border-color: {{ highlight }}; }
QToolButton#action:disabled { color: {{ opacity(text, 90) }}; }
QToolButton#action[primary="true"] { background-color: {{ current }}; font-weight: bold; }
QToolButton#action[primary="true"]:hover { background-color: {{ highlight }}; }
QToolButton#action[primary="true"]:disabled { background-color: {{ foreground }}; }
QToolButton#action::menu-indicator { image: none; }
QTreeWidget {
  background-color: {{ background }}; border: 1px solid {{ foreground }}; padding: 1px;
}
QTreeWidget::item { padding: 2px 2px; color: {{ text }}; }
QTreeWidget::item:hover { background-color: {{ foreground }}; }
QTreeWidget::item:selected { background-color: {{ current }}; color: {{ text }}; }
QListWidget::item { padding: 2px; }
QProgressBar { background-color: {{ foreground }}; border: none; border-radius: 2px; }
QProgressBar::chunk { background-color: {{ current }}; border-radius: 2px; }
"""


def style(theme: str) -> str:
    """The style sheet of our widgets in a theme of napari's."""
    return template(STYLE, **get_theme(theme).to_rgb_dict())


def attempt(session: FlexPoseSession, action: Callable[..., Any], *values: Any) -> bool:
    """Call an action for a widget; an error becomes a sentence that must not be overlooked.

    Returns
    -------
    whether it worked
    """
    try:
        action(*values)
    except FlexPoseError as error:
        session.failed.emit(str(error))
        return False
    except EmitLoopError as error:  # the same, out of a slot
        if not isinstance(error.__cause__, FlexPoseError):
            raise
        session.failed.emit(str(error.__cause__))
        return False
    return True


def action_button(
    words: str, tip: str, act: Callable[[], Any], *, primary: bool = False
) -> QToolButton:
    """A button with a word; clicking it leaves the keys with the picture."""
    button = QToolButton()
    button.setObjectName("action")
    button.setProperty("primary", primary)
    button.setText(words)
    button.setToolTip(tip)
    button.setAccessibleName(words)
    button.setAccessibleDescription(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    button.clicked.connect(lambda: act())
    return button


def row(*widgets: QWidget, stretch: Sequence[int] = ()) -> QHBoxLayout:
    """Widgets beside each other."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(GAP)
    for index, widget in enumerate(widgets):
        layout.addWidget(widget, stretch[index] if index < len(stretch) else 0)
    return layout


def column(parent: QWidget, margin: int = 0) -> QVBoxLayout:
    """The layout of a panel."""
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(GAP)
    return layout


def quiet_label(words: str = "", *, wrap: bool = True) -> QLabel:
    """Plain text, as a sentence below what it is about."""
    label = QLabel(words)
    label.setObjectName("quiet")
    label.setWordWrap(wrap)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return label


def table(name: str, columns: Sequence[str], stretched: int, rows: int) -> QTreeWidget:
    """A list with columns and without a header; ``rows`` are visible at least."""
    view = QTreeWidget()
    view.setAccessibleName(name)
    view.setColumnCount(len(columns))
    view.setHeaderLabels(list(columns))
    view.setHeaderHidden(True)
    view.setRootIsDecorated(False)
    view.setUniformRowHeights(True)
    view.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    header = view.header()
    assert header is not None
    header.setStretchLastSection(False)
    header.setMinimumSectionSize(16)
    for index in range(len(columns)):
        header.setSectionResizeMode(
            index,
            QHeaderView.ResizeMode.Stretch
            if index == stretched
            else QHeaderView.ResizeMode.ResizeToContents,
        )
    header.setMaximumSectionSize(170)
    view.setMinimumHeight(rows * (view.fontMetrics().height() + 6) + 6)
    return view


class ElidedLabel(QLabel):
    """One line of text that is cut in the middle when there is no room; the tooltip has it all."""

    def __init__(self, words: str = "") -> None:
        super().__init__()
        self._words = words
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.show_words(words)

    @property
    def words(self) -> str:
        """The whole text."""
        return self._words

    def show_words(self, words: str) -> None:
        """Show another text."""
        self._words = words
        self.setToolTip(words)
        self._elide()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        metrics = QFontMetrics(self.font())
        room = max(self.width() - 4, 20)
        self.setText(metrics.elidedText(self._words, Qt.TextElideMode.ElideMiddle, room))


class Step(QWidget):
    """A step of the work that folds; its header says in words how far it is."""

    toggled = Signal(bool)

    def __init__(self, title: str, body: QWidget) -> None:
        super().__init__()
        self.title, self.body = title, body
        self.header = QToolButton()
        self.header.setObjectName("stepHeader")
        self.header.setText(title)
        self.header.setCheckable(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.header.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.header.toggled.connect(self._on_toggled)
        inner = self._inside = QHBoxLayout(self.header)
        inner.setContentsMargins(0, 0, 0, 0)
        self._state = QLabel()
        self._state.setObjectName("stepState")
        self._state.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        inner.addStretch()
        inner.addWidget(self._state)
        self._why = quiet_label()
        layout = column(self)
        layout.setSpacing(4)
        layout.addWidget(self.header)
        layout.addWidget(self._why)
        layout.addWidget(body, 1)
        self._refused = ""
        self._on_toggled(False)

    @property
    def opened(self) -> bool:
        """Whether the step is unfolded."""
        return self.header.isChecked()

    @property
    def state(self) -> str:
        """What the header says beside the title."""
        return self._state.text()

    @property
    def refused(self) -> str:
        """Why the step cannot be used yet."""
        return self._refused

    def show_state(self, words: str, refused: str = "") -> None:
        """Say how far the step is, or in one line why it cannot be used yet."""
        self._state.setText(words)
        self._inside.activate()  # a button does not do so when a text within it grows
        self._refused = refused
        self._why.setText(refused)
        self.header.setAccessibleName(f"{self.title}, {words}")
        self._show()

    def set_open(self, opened: bool) -> None:
        """Fold or unfold."""
        self.header.setChecked(opened)

    def _on_toggled(self, opened: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow
        self.header.setArrowType(arrow)
        self._show()
        self.toggled.emit(opened)

    def _show(self) -> None:
        self.body.setVisible(self.opened and not self._refused)
        self._why.setVisible(self.opened and bool(self._refused))


class PictureStrip(QWidget):
    """Some pictures in rows, as wide as there is room.

    Parameters
    ----------
    tip : what they are
    columns : pictures in a row; with one there is but one row
    """

    def __init__(self, tip: str, columns: int = 3) -> None:
        super().__init__()
        self._columns, self._most = columns, 6 if columns > 1 else 1
        self._images: list[QImage] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.hide()

    def show_pictures(self, pictures: NDArray[np.uint8] | None) -> None:
        """Show uint8 (n, H, W, 3); nothing for None."""
        found = [] if pictures is None else list(pictures)
        shown = np.linspace(0, len(found) - 1, min(len(found), self._most)).round().astype(int)
        self._images = [_image(found[number]) for number in shown]
        self.setVisible(bool(self._images))
        self.setFixedHeight(max(1, self.heightForWidth(self.width())))
        self.update()

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        """Rows of pictures in their own proportions."""
        rows = -(-len(self._images) // self._columns)
        return rows * self._row_height(width // self._columns)

    def sizeHint(self) -> QSize:
        return QSize(280, max(1, self.heightForWidth(280)))

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self.setFixedHeight(max(1, self.heightForWidth(self.width())))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        wide = self.width() // self._columns
        high = self._row_height(wide)
        for number, image in enumerate(self._images):
            line, place = divmod(number, self._columns)
            painter.drawImage(QRect(place * wide, line * high, wide - 2, high - 2), image)
        painter.end()

    def _row_height(self, width: int) -> int:
        first = self._images[0] if self._images else None
        return width if first is None else round(width * first.height() / first.width())


def _image(picture: NDArray[np.uint8]) -> QImage:
    height, width = picture.shape[:2]
    image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return image.copy()  # the bytes go


class SkeletonView(QWidget):
    """Draws joints and edges in the colours of their sides; tells where it was clicked.

    Positions are shares of a square canvas, (0, 0) its top left, (1, 1) its bottom right.
    """

    pressed = Signal(float, float)

    def __init__(self, side: int = 110) -> None:
        super().__init__()
        self._side = side
        self._points: list[tuple[float, float] | None] = []
        self._edges: list[tuple[int, int]] = []
        self._sides: list[str] = []
        self._current: int | None = None
        self.setMinimumSize(side, side)

    def sizeHint(self) -> QSize:
        return QSize(self._side, self._side)

    def show_skeleton(self, skeleton: Skeleton) -> None:
        """Draw the neutral pose, fitted into the canvas."""
        sides = ["middle"] * skeleton.num_joints
        for left, right in skeleton.symmetric_pairs:
            sides[left], sides[right] = "left", "right"
        points = fitted_shares(skeleton.neutral_pose) or [None] * skeleton.num_joints
        self.show_parts(points, list(skeleton.edges), sides)
        self.setAccessibleName(f"Drawing of the skeleton {skeleton.name}")

    def show_parts(
        self,
        points: Sequence[tuple[float, float] | None],
        edges: Sequence[tuple[int, int]],
        sides: Sequence[str],
        current: int | None = None,
    ) -> None:
        """Draw joints at shares of the canvas; those that are None are left out."""
        self._points, self._edges = list(points), list(edges)
        self._sides, self._current = list(sides), current
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor("#262930"))
        painter.drawRoundedRect(area, 4, 4)
        radius = max(2.5, area.width() / 60)
        for a, b in self._edges:
            start, end = self._points[a], self._points[b]
            if start is None or end is None:
                continue
            sides = {self._sides[a], self._sides[b]} - {"middle"}
            side = sides.pop() if len(sides) == 1 else "middle"
            painter.setPen(QPen(QColor(SIDE_COLOURS[side]), max(1.5, radius * 0.6)))
            painter.drawLine(self._pixel(start), self._pixel(end))
        for index, point in enumerate(self._points):
            if point is None:
                continue
            chosen = index == self._current
            painter.setPen(QPen(QColor("#111111"), 1))
            painter.setBrush(QColor(SIDE_COLOURS[self._sides[index]]))
            size = radius * (1.8 if chosen else 1.0)
            painter.drawEllipse(self._pixel(point), size, size)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        area, at = self._area(), event.position()
        x, y = (at.x() - area.x()) / area.width(), (at.y() - area.y()) / area.height()
        if 0 <= x <= 1 and 0 <= y <= 1:
            self.pressed.emit(x, y)

    def _area(self) -> QRectF:
        side = min(self.width(), self.height()) - 2
        return QRectF((self.width() - side) / 2, (self.height() - side) / 2, side, side)

    def _pixel(self, point: tuple[float, float]) -> QPointF:
        area = self._area()
        return QPointF(area.x() + point[0] * area.width(), area.y() + point[1] * area.height())


def fitted_shares(
    pose: Sequence[tuple[float, float]], fill: float = 0.84
) -> list[tuple[float, float] | None]:
    """A pose of any units as shares of a square canvas, centred; empty for an empty pose."""
    if not pose:
        return []
    xs, ys = [x for x, _ in pose], [y for _, y in pose]
    extent = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    middle = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)
    return [
        (0.5 + fill * (x - middle[0]) / extent, 0.5 + fill * (y - middle[1]) / extent)
        for x, y in pose
    ]
