"""A form generated from a config class: what the command line offers as flags."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QGridLayout, QGroupBox, QLabel, QToolButton, QWidget

from flexpose.configs.base import ConfigBase
from napari_flexpose.widgets.field_editor import FieldEditor, field_editor
from napari_flexpose.widgets.parts import column, quiet_label

Loc = tuple[str, ...]


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


# ---------------------------------------------------------------- pydantic's side

_NONE: Any = object()


def _nested(info: FieldInfo) -> type[ConfigBase] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, ConfigBase) else None


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
