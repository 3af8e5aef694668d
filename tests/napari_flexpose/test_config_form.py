from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from flexpose.configs.adaptation import AdaptConfig
from flexpose.configs.base import ConfigBase

pytest.importorskip("qtpy")
from napari_flexpose.widgets.config_form import ConfigForm


class Inner(ConfigBase):
    weight: float = Field(0.5, gt=0, le=2, title="Weight", description="How much.")
    on: bool = True


class Outer(ConfigBase):
    needed: Path
    kind: Literal["a", "b"] = Field("a", title="Kind")
    count: int = Field(3, ge=1, le=9)
    size: int | None = Field(None, ge=16)
    layers: tuple[int, ...] | Literal["all"] = (3,)
    name: str | None = None
    inner: Inner = Field(default_factory=Inner)


@pytest.fixture
def form(qtbot) -> ConfigForm:
    form = ConfigForm(Outer, skip=("needed",))
    qtbot.addWidget(form)
    return form


def test_every_field_of_every_job_setting_has_an_editor(qtbot):
    form = ConfigForm(AdaptConfig, skip=("shots",))
    qtbot.addWidget(form)
    assert ("transfer", "pairs", "num_mixups") in form.fields
    assert form.values() == {}
    assert form.check() == ""


def test_only_what_differs_from_the_defaults_comes_back(form):
    assert form.values() == {}
    form.fields["kind",].set_value("b")
    form.fields["inner", "weight"].set_value(1.25)
    form.fields["size",].set_value(32)
    assert form.values() == {"kind": "b", "size": 32, "inner": {"weight": 1.25}}
    assert form.num_changed == 3
    made = Outer.model_validate({"needed": "x", **form.values()})
    assert (made.kind, made.size, made.inner.weight) == ("b", 32, 1.25)


def test_values_can_be_shown_and_taken_back(form):
    values = {"layers": (2, 5), "inner": {"on": False}, "name": "x"}
    form.set_values(values)
    made = Outer.model_validate({"needed": "x", **form.values()})
    assert (made.layers, made.inner.on, made.name) == ((2, 5), False, "x")
    form.set_values({})
    assert form.values() == {}


def test_numbers_keep_to_their_bounds(form):
    form.fields["count",].set_value(99)
    assert form.values() == {"count": 9}
    form.fields["inner", "weight"].set_value(0)
    assert form.fields["inner", "weight"].value() > 0


def test_the_place_below_the_least_number_means_the_default(form):
    box = form.fields["size",].widget
    box.setValue(16)
    assert form.values() == {"size": 16}
    box.setValue(box.minimum())
    assert form.fields["size",].value() is None


def test_a_wrong_value_is_told_at_its_field_in_one_sentence(form, qtbot):
    form.show()
    form.fields["layers",].set_value("3, x")
    sentence = form.check()
    assert sentence.startswith("Layers: ")
    assert "found 'x'" in sentence
    shown = [label for label in form._problems.values() if label.isVisible()]
    assert len(shown) == 1
    form.fields["layers",].set_value("all")
    assert form.check() == ""


def test_a_missing_value_that_others_ask_for_is_no_complaint(form):
    assert form.check() == ""


def test_small_numbers_are_shown_short_and_read_in_any_notation(qtbot):
    form = ConfigForm(AdaptConfig, skip=("shots",))
    qtbot.addWidget(form)
    box = form.fields["transfer", "lr"].widget
    assert box.text() == "0.002"
    box.lineEdit().setText("3e-4")
    box.interpretText()
    assert form.values() == {"transfer": {"lr": pytest.approx(3e-4)}}


def test_scrolling_over_a_box_does_not_change_it(form, qtbot):
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    box = form.fields["count",].widget
    none, phase = Qt.MouseButton.NoButton, Qt.ScrollPhase.NoScrollPhase
    at, keys = QPointF(5, 5), Qt.KeyboardModifier.NoModifier
    wheel = QWheelEvent(at, at, QPoint(), QPoint(0, 120), none, keys, phase, False)
    QApplication.sendEvent(box, wheel)
    assert box.value() == 3


def test_tooltips_carry_description_and_source(qtbot):
    form = ConfigForm(AdaptConfig, skip=("shots",))
    qtbot.addWidget(form)
    tip = form.fields["transfer", "pairs", "num_mixups"].widget.toolTip()
    assert "Size of T*" in tip
    assert "Source: FlexPose, section 4.1" in tip
