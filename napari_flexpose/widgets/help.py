"""The cheat sheet: every key and what it does, from the one table of shortcuts."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QLabel, QWidget

from napari_flexpose.keymap import help_rows
from napari_flexpose.widgets.parts import action_button, column


class HelpDialog(QDialog):
    """Shows all shortcuts in two columns; does not block the window."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("FlexPose shortcuts")
        layout = column(self, margin=16)
        groups = help_rows()
        half = sum(len(rows) + 2 for _, rows in groups) / 2
        columns: list[list[tuple[str, list[tuple[str, str]]]]] = [[], []]
        filled = 0
        for group, rows in groups:
            columns[0 if filled + len(rows) / 2 < half else 1].append((group, rows))
            filled += len(rows) + 2
        beside = QHBoxLayout()
        beside.setSpacing(32)
        for content in columns:
            beside.addWidget(_column(content), 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(beside)
        note = QLabel("Keys act while the layer Joints is selected. Every action has a button too.")
        note.setWordWrap(True)
        note.setContentsMargins(0, 10, 0, 0)
        layout.addWidget(note)
        close = action_button("Close", "Close this window", self.close)
        close.setFixedWidth(90)
        layout.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)


def _column(groups: list[tuple[str, list[tuple[str, str]]]]) -> QWidget:
    widget = QWidget()
    grid = QGridLayout(widget)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(3)
    line = 0
    for group, rows in groups:
        heading = QLabel(f"<b>{group}</b>")
        heading.setContentsMargins(0, 0 if line == 0 else 10, 0, 2)
        grid.addWidget(heading, line, 0, 1, 2)
        for keys, words in rows:
            line += 1
            grid.addWidget(QLabel(keys), line, 0)
            grid.addWidget(QLabel(words), line, 1)
        line += 1
    return widget
