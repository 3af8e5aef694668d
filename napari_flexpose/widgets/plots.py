"""Plots of numbers that grow while a job runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QWidget

from napari_flexpose.widgets.parts import column, quiet_label


class LossPlot(QWidget):
    """The main loss against the step; the first that a job names is the main one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.steps: list[int] = []
        self.values: list[float] = []
        self._name = ""
        self.title = quiet_label()
        self.plot = pg.PlotWidget(background=None)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.setMouseEnabled(False, False)
        self.plot.setFixedHeight(104)
        self.plot.getAxis("left").setWidth(38)
        self.plot.getAxis("bottom").setHeight(20)
        self.plot.setAccessibleName("Loss against step")
        self._curve = self.plot.plot(pen=pg.mkPen("#56b4e9", width=2))
        outer = column(self)
        outer.setSpacing(0)
        outer.addWidget(self.title)
        outer.addWidget(self.plot)

    def clear(self) -> None:
        """Begin a new run."""
        self.steps, self.values, self._name = [], [], ""
        self._curve.setData([], [])
        self.title.setText("")

    def add(self, step: int, losses: Mapping[str, float], total_steps: int | None) -> None:
        """Add the losses of a step; those beside the main one are left out."""
        if not losses:
            return
        if not self._name:
            self._name = next(iter(losses))
            if total_steps is not None:
                self.plot.setXRange(0, total_steps, padding=0.01)
        if self._name not in losses:
            return
        self.steps.append(step)
        self.values.append(losses[self._name])
        self._curve.setData(self.steps, self.values)
        self.title.setText(f"Loss ({self._name}): {self.values[-1]:.3g}")

    def changeEvent(self, event: Any) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange):
            self._recolour()

    def showEvent(self, event: object) -> None:
        """The theme is known now."""
        self._recolour()

    def _recolour(self) -> None:
        """Take the theme's text colour for the axes."""
        self.plot.resetCachedContent()
        colour = self.palette().color(QPalette.ColorRole.WindowText)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setPen(pg.mkPen(colour, width=1))
            axis.setTextPen(colour)
