"""Editors of single settings: a widget for a field's type and bounds."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QWidget,
)

_LARGEST = 2**31 - 1


class FieldEditor:
    """One field: a widget and how to read and set it; made by `field_editor`."""

    def __init__(
        self,
        widget: QWidget,
        default: Any,
        value: Callable[[], Any],
        set_value: Callable[[Any], None],
        signal: Any,
    ) -> None:
        self.widget, self.default = widget, default
        self.value, self.set_value, self._signal = value, set_value, signal
        set_value(default)

    @property
    def is_default(self) -> bool:
        """Whether it shows the default."""
        return _plain(self.value()) == _plain(self.default)

    def connect(self, slot: Callable[[], None]) -> None:
        """Call ``slot`` whenever the value changes."""
        self._signal.connect(lambda *_: slot())


def field_editor(info: FieldInfo) -> FieldEditor:
    """The editor for a field's type and bounds."""
    kind, optional = _without_none(info.annotation)
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if get_origin(kind) is Literal:
        return _choice(list(get_args(kind)), default)
    if kind is bool:
        box = QCheckBox()
        return FieldEditor(box, default, box.isChecked, box.setChecked, box.toggled)
    if kind is int:
        return _whole_number(info, default, optional)
    if kind is float and not optional:
        return _real_number(info, default)
    return _text(kind, default, optional)


def _choice(options: list[Any], default: Any) -> FieldEditor:
    box = QComboBox()
    for option in options:
        box.addItem(str(option), option)
    return FieldEditor(
        _calm(box),
        default,
        box.currentData,
        lambda value: box.setCurrentIndex(box.findData(value)),
        box.currentIndexChanged,
    )


def _whole_number(info: FieldInfo, default: Any, optional: bool) -> FieldEditor:
    low, high = _bounds(info, 1)
    least = -_LARGEST if low is None else int(low)
    box = QSpinBox()
    box.setRange(least - optional, _LARGEST if high is None else int(high))
    box.setGroupSeparatorShown(True)
    if optional:  # the place below the least number stands for none
        box.setSpecialValueText("default")

    def value() -> int | None:
        return None if optional and box.value() == least - 1 else box.value()

    def show(number: Any) -> None:
        box.setValue(least - 1 if number is None else int(number))

    return FieldEditor(_calm(box), default, value, show, box.valueChanged)


def _real_number(info: FieldInfo, default: Any) -> FieldEditor:
    box = _RealBox()
    low, high = _bounds(info, 10.0**-_RealBox.DECIMALS)
    box.setRange(-1e9 if low is None else low, 1e9 if high is None else high)
    return FieldEditor(_calm(box), default, box.value, box.setValue, box.valueChanged)


def _text(kind: Any, default: Any, optional: bool) -> FieldEditor:
    line = QLineEdit()
    line.setPlaceholderText("default" if optional else "")
    words = [a for part in get_args(kind) if get_origin(part) is Literal for a in get_args(part)]
    many = any(get_origin(part) is tuple for part in (kind, *get_args(kind)))

    def value() -> Any:
        text = line.text().strip()
        if not text and optional:
            return None
        if many and text not in words:
            return tuple(part.strip() for part in text.split(","))
        return Path(text) if kind is Path else text

    def show(shown: Any) -> None:
        many_parts = isinstance(shown, (tuple, list))
        text = ", ".join(str(part) for part in shown) if many_parts else shown
        line.setText("" if text is None else str(text))

    widget = _with_browser(line) if kind is Path else line
    return FieldEditor(widget, default, value, show, line.textChanged)


def _with_browser(line: QLineEdit) -> QWidget:
    """A line for a path, with a button that looks for a file."""
    widget = QWidget()
    row = QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    button = QToolButton()
    button.setText("…")
    button.setToolTip("Choose a file")

    def choose() -> None:
        path, _ = QFileDialog.getOpenFileName(widget, "Choose a file", line.text())
        if path:
            line.setText(path)

    button.clicked.connect(choose)
    row.addWidget(line)
    row.addWidget(button)
    widget.setFocusProxy(line)
    return widget


class _RealBox(QDoubleSpinBox):
    """A number box that shows 0.002 as 0.002, not as 0.002000, and takes 2e-3."""

    DECIMALS = 8

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(self.DECIMALS)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:
        return f"{value:.6g}"

    def valueFromText(self, text: Any) -> float:
        try:
            return float(text.replace(",", "."))
        except ValueError:
            return self.value()

    def validate(self, text: Any, at: int) -> tuple[QValidator.State, str, int]:
        try:
            number = float(text.replace(",", "."))
        except ValueError:
            return QValidator.State.Intermediate, text, at
        inside = self.minimum() <= number <= self.maximum()
        state = QValidator.State.Acceptable if inside else QValidator.State.Intermediate
        return state, text, at


class _WheelGuard(QObject):
    """Leaves the wheel to the page: scrolling past a box must not change it."""

    def eventFilter(self, watched: Any, event: Any) -> bool:
        if event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return False


def _calm(box: QComboBox | QSpinBox | QDoubleSpinBox) -> QWidget:
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    box.installEventFilter(_WheelGuard(box))
    return box


# ---------------------------------------------------------------- pydantic's side


def _without_none(kind: Any) -> tuple[Any, bool]:
    """The type beside None, and whether None is possible."""
    if get_origin(kind) is typing.Annotated:
        return _without_none(get_args(kind)[0])
    if get_origin(kind) not in (Union, types.UnionType):
        return kind, False
    parts = [part for part in get_args(kind) if part is not type(None)]
    optional = len(parts) < len(get_args(kind))
    return (parts[0] if len(parts) == 1 else Union[tuple(parts)]), optional  # noqa: UP007


def _bounds(info: FieldInfo, step: float) -> tuple[Any, Any]:
    """Least and largest value; ``step`` is the distance from a bound that does not belong."""
    low = high = None
    for mark in info.metadata:
        if isinstance(mark, annotated_types.Ge):
            low = mark.ge
        elif isinstance(mark, annotated_types.Gt):
            low = mark.gt + step  # type: ignore[operator]
        elif isinstance(mark, annotated_types.Le):
            high = mark.le
        elif isinstance(mark, annotated_types.Lt):
            high = mark.lt - step  # type: ignore[operator]
    return low, high


def _plain(value: Any) -> Any:
    """Comparable form: what a text field cannot tell apart is equal."""
    if isinstance(value, (tuple, list)):
        return [str(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
