"""A form generated from a config class: what the command line offers as flags."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QWidget,
)

from flexpose.configs.base import ConfigBase
from napari_flexpose.widgets.parts import column, quiet_label

Loc = tuple[str, ...]
_LARGEST = 2**31 - 1


class ConfigForm(QWidget):
    """The fields of a config, nested configs as groups.

    Parameters
    ----------
    cls : the config class
    skip : top-level fields that somebody else asks for
    """

    changed = Signal()

    def __init__(
        self, cls: type[ConfigBase], skip: Collection[str] = (), parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._cls, self._skip = cls, frozenset(skip)
        self.fields: dict[Loc, FieldEditor] = {}
        self._problems: dict[Loc, QLabel] = {}
        self._outer = column(self)
        self._outer.addLayout(self._grid(cls, (), self._skip))

    # ------------------------------------------------------------ values

    def values(self) -> dict[str, Any]:
        """What differs from the defaults, nested like the config; not validated."""
        result: dict[str, Any] = {}
        for loc, editor in self.fields.items():
            if not editor.is_default:
                _place(result, loc, editor.value())
        return result

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these settings, and the defaults of all others."""
        for loc, editor in self.fields.items():
            found: Any = values
            for name in loc:
                found = found.get(name, _NONE) if isinstance(found, Mapping) else _NONE
            editor.set_value(editor.default if found is _NONE else found)
        self._show_problems({})
        self.changed.emit()

    def check(self) -> str:
        """Validate, and show each complaint below its field; the first one, empty when none."""
        problems: dict[Loc, str] = {}
        try:
            self._cls.model_validate(self.values())
        except ValidationError as error:
            for found in error.errors():
                loc = self._field_of(found["loc"])
                if loc is not None:
                    problems.setdefault(loc, _sentence(found))
        self._show_problems(problems)
        if not problems:
            return ""
        loc = next(iter(problems))
        return f"{self.fields[loc].widget.accessibleName()}: {problems[loc]}"

    @property
    def num_changed(self) -> int:
        """How many fields differ from their defaults."""
        return sum(not editor.is_default for editor in self.fields.values())

    def add_below(self, widget: QWidget) -> None:
        """Add something after the last field."""
        self._outer.addWidget(widget)

    # ------------------------------------------------------------ parts

    def _grid(self, cls: type[ConfigBase], at: Loc, skip: Collection[str] = ()) -> QGridLayout:
        # a form layout would cut labels of two lines
        grid = QGridLayout()
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(4)
        groups = []
        for name, info in cls.model_fields.items():
            nested = _nested(info)
            if name in skip:
                continue
            if nested is None:
                self._add_row(grid, (*at, name), info)
                continue
            group = QGroupBox(_title(name, info))
            group.setLayout(self._grid(nested, (*at, name)))
            groups.append(group)
        for group in groups:  # below the single fields, which are not of them
            grid.addWidget(group, grid.rowCount(), 0, 1, 2)
        return grid

    def _add_row(self, grid: QGridLayout, loc: Loc, info: FieldInfo) -> None:
        editor = field_editor(info)
        editor.widget.setToolTip(_tooltip(info))
        editor.widget.setAccessibleName(_title(loc[-1], info))
        label = QLabel(_title(loc[-1], info))
        label.setToolTip(_tooltip(info))
        label.setBuddy(editor.widget)
        label.setWordWrap(True)
        problem = quiet_label()
        problem.setObjectName("notice")
        problem.hide()
        line = grid.rowCount()
        grid.addWidget(label, line, 0)
        grid.addWidget(editor.widget, line, 1)
        grid.addWidget(problem, line + 1, 0, 1, 2)
        self.fields[loc], self._problems[loc] = editor, problem
        editor.connect(lambda: self._on_changed(loc, label))

    def _on_changed(self, loc: Loc, label: QLabel) -> None:
        font = label.font()
        font.setBold(not self.fields[loc].is_default)
        label.setFont(font)
        self._problems[loc].hide()
        self.changed.emit()

    def _field_of(self, loc: tuple[int | str, ...]) -> Loc | None:
        """The field that pydantic's place lies in; unions add parts after it."""
        names = tuple(str(part) for part in loc)
        return next((names[:n] for n in range(len(names), 0, -1) if names[:n] in self.fields), None)

    def _show_problems(self, problems: Mapping[Loc, str]) -> None:
        for loc, label in self._problems.items():
            label.setText(problems.get(loc, ""))
            label.setVisible(loc in problems)


class Fold(QWidget):
    """Something that is seldom needed, below a word that unfolds it."""

    def __init__(self, words: str, body: QWidget) -> None:
        super().__init__()
        self.header = QToolButton()
        self.header.setText(words)
        self.header.setCheckable(True)
        self.header.setAutoRaise(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.toggled.connect(self._on_toggled)
        self._body = body
        outer = column(self)
        outer.addWidget(self.header)
        outer.addWidget(body)
        self._on_toggled(False)

    def setText(self, words: str) -> None:
        """Change the word."""
        self.header.setText(words)

    def set_open(self, opened: bool) -> None:
        """Fold or unfold."""
        self.header.setChecked(opened)

    def _on_toggled(self, opened: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow
        self.header.setArrowType(arrow)
        self._body.setVisible(opened)


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

_NONE: Any = object()


def _nested(info: FieldInfo) -> type[ConfigBase] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, ConfigBase) else None


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


def _title(name: str, info: FieldInfo) -> str:
    return info.title or name.replace("_", " ").capitalize()


def _tooltip(info: FieldInfo) -> str:
    title = info.title or ""
    text = (info.description or "").removeprefix(title).lstrip(". ")
    extra = info.json_schema_extra
    source = extra.get("source") if isinstance(extra, Mapping) else None
    lines = [title, text, f"Source: {source}" if source else ""]
    return "\n".join(line for line in lines if line)


def _sentence(found: Mapping[str, Any]) -> str:
    """Pydantic's complaint as one sentence."""
    text = str(found["msg"]).rstrip(".")
    return f"{text}, found {found['input']!r}."


def _place(result: dict[str, Any], loc: Loc, value: Any) -> None:
    for name in loc[:-1]:
        result = result.setdefault(name, {})
    result[loc[-1]] = value


def _plain(value: Any) -> Any:
    """Comparable form: what a text field cannot tell apart is equal."""
    if isinstance(value, (tuple, list)):
        return [str(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
