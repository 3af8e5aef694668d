"""The step *Review*: a detector's suggestions, one by one or many at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from psygnal import SignalInstance
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QProgressBar,
    QToolButton,
    QTreeWidgetItem,
    QWidget,
)

from flexpose.annotation.review import REACH, Agreement, Order
from flexpose.errors import FlexPoseError
from napari_flexpose.keymap import tip
from napari_flexpose.review import Reviewer
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.widgets.job_bar import labelled, narrow_box
from napari_flexpose.widgets.many_box import ManyBox
from napari_flexpose.widgets.parts import (
    ElidedLabel,
    action_button,
    attempt,
    column,
    quiet_label,
    row,
    table,
)
from napari_flexpose.words import counted, of_hundred, percent

ORDER_WORDS: dict[Order, str] = {
    "least sure": "Least sure first",
    "most different": "Most different first",
    "in order": "In order",
}
REST = 150
"""Milliseconds of rest after an edit until lists and figures follow."""
SHOWN = 200
"""Frames of the queue that are listed."""


class ReviewPanel(QWidget):
    """What waits, what can be done about the frame that is shown, and about many at once."""

    def __init__(
        self, session: FlexPoseSession, reviewer: Reviewer, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.reviewer = session, reviewer
        self.empty = quiet_label(
            "Train a detector and predict first: its suggestions then wait here. Predictions of "
            "another tool can be loaded too."
        )
        self.empty.setObjectName("notice")
        self.load_button = action_button(
            "Load predictions…", "Open a COCO file with a pose for each frame.", self._choose
        )
        self.trouble = quiet_label()
        self.trouble.setObjectName("notice")
        self.loaded = QWidget()
        outer = column(self)
        for widget in (self.empty, self.trouble, self.loaded, self.load_button):
            outer.addWidget(widget)
        self._outer = outer
        outer.addStretch()
        self._fill()
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST)
        self._rest.timeout.connect(self.refresh)
        self._slots: tuple[tuple[SignalInstance, Callable[..., None]], ...] = (
            (reviewer.changed, self._later),
            (session.label_changed, self._later),
            (session.saved_changed, self._later),
            (session.frame_changed, self._on_frame),
            (reviewer.many_asked, self._on_asked),
        )
        for signal, slot in self._slots:
            signal.connect(slot)
        self.refresh()

    def close_panel(self) -> None:
        """Let go of the session."""
        self._rest.stop()
        self.many.stop()
        for signal, slot in self._slots:
            signal.disconnect(slot)

    def load(self, path: Path) -> None:
        """Enter the predictions of a file; a problem is told in words."""
        self._do(self.reviewer.load, path)
        self.refresh()

    # ------------------------------------------------------------ making the widgets

    def _fill(self) -> None:
        reviewer = self.reviewer
        self.file = ElidedLabel()
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(4)
        self.order = narrow_box("Which suggestion comes first")
        for order, words in ORDER_WORDS.items():
            self.order.addItem(words, order)
        self.order.activated.connect(self._on_order)
        self.queue = table("Suggestions to review", ("Sure", "Frame", "Least sure joint"), 1, 4)
        self.queue.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.queue.itemClicked.connect(lambda i: self._do(self.session.show_name, i.text(1)))
        self.accept = action_button(
            "Accept",
            "Take all joints as they are, next suggestion (Enter)",
            partial(self._do, self.session.accept),
            primary=True,
        )
        self.reject = self._action("Reject", "remove_suggestion")
        self.skip = self._action("Skip", "following")
        self.back = self._action("Back", "preceding")
        self.undo = action_button("Undo", tip("undo"), partial(self._do, self.session.undo))
        self.sides = QWidget()
        swap = partial(self._do, self.session.swap_sides)
        aligned = column(self.sides)
        aligned.addLayout(
            row(
                action_button("Exchange sides", tip("swap_sides"), swap),
                self._action("Sides along the clip", "carry_sides"),
            )
        )
        self.toggle = action_button("Accept many…", tip("ask_for_many"), self._on_toggle)
        self.toggle.setCheckable(True)
        self.toggle.setProperty("folds", True)  # the button that stands out is another
        self.many = ManyBox(self.session, reviewer, self._on_accepted)
        self.worth = quiet_label()
        self.one_by_one = QWidget()
        listed = column(self.one_by_one)
        listed.addLayout(labelled(("Order", self.order)))
        listed.addWidget(self.queue, 1)
        listed.addLayout(
            row(self.accept, self.reject, self.skip, self.back, self.undo, stretch=(2, 1, 1, 1, 1))
        )
        listed.addWidget(self.sides)
        listed.addWidget(self.worth)
        inside = column(self.loaded)
        inside.addWidget(self.file)
        inside.addWidget(self.progress)
        inside.addWidget(self.one_by_one, 1)
        inside.addWidget(self.toggle)
        inside.addWidget(self.many)
        self.many.hide()

    def _action(self, words: str, action: str) -> QToolButton:
        act = partial(self._do, getattr(self.reviewer, action))
        return action_button(words, tip(action), act)

    # ------------------------------------------------------------ acting

    def _do(self, action: Callable[..., object], *values: object) -> None:
        attempt(self.session, action, *values)

    def _choose(self) -> None:
        project = self.session.project
        start = Path.cwd() if project is None else project.folder.parent
        path, _ = QFileDialog.getOpenFileName(
            self, "Predictions", str(start), "Predictions (*.json *.npz);;All files (*)"
        )
        if path:
            self.load(Path(path))

    def _on_order(self, index: int) -> None:
        self._do(self.reviewer.set_order, self.order.itemData(index))

    def _on_toggle(self) -> None:
        if self.toggle.isChecked():
            self.many.open()
        else:
            self.many.close_box()
        self._make_room()

    def _on_asked(self) -> None:
        """Open the preview from the keyboard; accepting gives the keys back to the picture."""
        if self.reviewer.loaded and self.toggle.isEnabled():
            self.toggle.setChecked(True)
            self.many.open(take_keys=True)
            self._make_room()

    def _on_accepted(self) -> None:
        self._close_many()
        self.refresh()

    def _close_many(self) -> None:
        self.toggle.setChecked(False)
        self.many.close_box()
        self._make_room()

    def _make_room(self) -> None:
        """One by one or many at once: a small window has no room for both."""
        many = self.toggle.isChecked()
        self.toggle.setText("Back to one by one" if many else "Accept many…")
        self.one_by_one.setVisible(not many)
        self.load_button.setVisible(not many)
        listing = self.reviewer.loaded and not many
        self._outer.setStretchFactor(self.loaded, int(listing))
        self._outer.setStretch(self._outer.count() - 1, int(not listing))

    # ------------------------------------------------------------ mirroring

    def _later(self, *_: object) -> None:
        self._rest.start()

    def refresh(self) -> None:
        """Show what is so now."""
        self._rest.stop()
        reviewer = self.reviewer
        loaded = reviewer.loaded and self.session.project is not None
        self.empty.setVisible(not loaded and not reviewer.trouble)
        self.trouble.setVisible(bool(reviewer.trouble))
        self.trouble.setText(reviewer.trouble)
        self.loaded.setVisible(loaded)
        self.load_button.setText("Load other predictions…" if loaded else "Load predictions…")
        if not loaded:
            self._close_many()
            return
        self.order.setCurrentIndex(self.order.findData(reviewer.order))
        waiting = reviewer.queue
        self.file.show_words("" if reviewer.path is None else reviewer.path.name)
        self.progress.setRange(0, max(reviewer.total, 1))
        self.progress.setValue(reviewer.total - len(waiting))
        self._fill_queue(waiting)
        skeleton = self.session.skeleton
        self.sides.setVisible(skeleton.flip_index != tuple(range(skeleton.num_joints)))
        for button in (self.accept, self.reject, self.skip, self.back):
            button.setEnabled(bool(waiting))
        undo = self.session.undo_words
        self.undo.setEnabled(bool(undo))
        self.undo.setToolTip(tip("undo", f"Undo: {undo}" if undo else "Nothing to undo"))
        knows = reviewer.knows_confidence
        self.toggle.setEnabled(knows and bool(waiting))
        self.toggle.setToolTip(
            tip("ask_for_many") if knows else "These predictions do not say how sure they are."
        )
        if self.toggle.isChecked() and not waiting:
            self._close_many()
        self._make_room()
        self.many.refresh()
        self._show_worth()

    def _fill_queue(self, waiting: list[str]) -> None:
        self.queue.clear()
        for name in waiting[:SHOWN]:
            sure, doubts = self.reviewer.sure(name), self.reviewer.doubts(name)
            words = f"{doubts[0][0]} {percent(doubts[0][1])}" if doubts else ""
            item = QTreeWidgetItem(["" if sure is None else percent(sure), name, words])
            item.setTextAlignment(0, Qt.AlignmentFlag.AlignRight)
            item.setToolTip(1, name)
            self.queue.addTopLevelItem(item)
        if len(waiting) > SHOWN:
            self.queue.addTopLevelItem(_note(f"and {len(waiting) - SHOWN} more"))
        self._on_frame()

    def _on_frame(self, index: int = 0) -> None:
        """Mark the frame that is shown."""
        self.queue.clearSelection()
        self.queue.setCurrentItem(None)
        if self.session.project is None:
            return
        for item in self.queue.findItems(self.session.name, Qt.MatchFlag.MatchExactly, 1):
            self.queue.setCurrentItem(item)
            self.queue.scrollToItem(item)

    def _show_worth(self) -> None:
        found = None
        try:
            found = self.reviewer.agreement()
        except FlexPoseError as error:
            self.session.said.emit(str(error))
        self.worth.setVisible(found is not None)
        if found is not None:
            self.worth.setText(worth_words(*found))
            self.worth.setToolTip(
                f"Right is within {percent(REACH)} of the person's size of your label, off is in "
                "percent of that size.\nFrames that were accepted together with others do not "
                "count.\nA label that began as a suggestion stays near it: this favours the newer "
                "predictions."
            )


def worth_words(before: Agreement | None, now: Agreement) -> str:
    """How near suggestions came to what people decided, in words."""
    frames = counted(now.frames, "frame")
    if before is None:
        return (
            f"In the {frames} that you decided so far, {of_hundred(now.pck)} joints stayed "
            f"within {percent(REACH)} of the person's size of where they were suggested."
        )
    return (
        f"In the {frames} that you decided since:\n"
        f"Before retraining {of_hundred(before.pck)} joints right, {before.distance_percent:.1f} % "
        f"off.\nAfter it {of_hundred(now.pck)} joints right, {now.distance_percent:.1f} % off."
    )


def _note(words: str) -> QTreeWidgetItem:
    item = QTreeWidgetItem(["", words, ""])
    item.setFlags(Qt.ItemFlag.NoItemFlags)
    return item
