"""The step *Label*: frames, joints, and a button for everything that a key can do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QAction  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QToolButton,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from flexpose.annotation.findings import Finding
from flexpose.annotation.label import ABSENT, OCCLUDED, VISIBLE, FrameLabel
from flexpose.annotation.project import FrameStatus, frame_status
from flexpose.skeleton import Skeleton
from napari_flexpose.convert import joint_sides
from napari_flexpose.keymap import BOX, SHORTCUTS, shown, tip
from napari_flexpose.layers import PoseLayers
from napari_flexpose.session import MODES, FlexPoseSession
from napari_flexpose.thread_runner import Search
from napari_flexpose.widgets.parts import ElidedLabel, action_button, attempt, column, row, table

MODE_WORDS = {
    "sequential": "next undecided joint",
    "quick": "next joint",
    "loop": "same joint, next frame",
}
FRAME_SIGNS: dict[FrameStatus, str] = {
    "to do": "·",
    "in progress": "◐",
    "complete": "●",
    "reviewed": "✓",
    "rejected": "✕",
    "no pose": "–",
}
SEVERITY_SIGNS = {"error": "✕", "warning": "!", "hint": "·"}
FINDINGS_AFTER = 400
"""Milliseconds of rest before labels are checked again."""
Act = Callable[[], object]


class LabelPanel(QWidget):
    """Mirrors the session's frames, joints and findings; every widget calls one of its methods."""

    def __init__(self, session: FlexPoseSession, layers: PoseLayers, suggestions: int = 12) -> None:
        super().__init__()
        self.session, self.layers, self.suggestions = session, layers, suggestions
        self.search = Search(self)
        self._findings: list[Finding] = []
        self._check = QTimer(self)
        self._check.setSingleShot(True)
        self._check.setInterval(FINDINGS_AFTER)
        self._check.timeout.connect(self.check)
        layout = column(self)
        self._add_frame_bar(layout)
        self._add_list(layout)
        self._add_joints(layout)
        self._add_buttons(layout)
        self._add_findings(layout)
        self._connect()
        self._on_project()

    def close_panel(self) -> None:
        """Let go of the session; end what runs."""
        self._check.stop()
        self.search.close()
        for signal, slot in self._slots:
            signal.disconnect(slot)

    def _connect(self) -> None:
        session = self.session
        self._slots = (
            (session.project_changed, self._on_project),
            (session.frame_changed, self._on_frame),
            (session.label_changed, self._on_label),
            (session.joint_changed, self._on_joint),
            (session.mode_changed, self._on_mode),
            (session.saved_changed, self._on_history),
            (session.placing.changed, self._on_placing),
        )
        for signal, slot in self._slots:
            signal.connect(slot)
        self.search.found.connect(lambda found: self._do(session.add_suggestions, found))
        self.search.failed.connect(session.failed.emit)
        self.search.ended.connect(self._show_search)
        self.search.progressed.connect(self._on_searched)

    def _do(self, action: Callable[..., object], *values: object) -> None:
        if attempt(self.session, action, *values):
            self.layers.activate()

    # ------------------------------------------------------------ session -> widgets

    def _on_project(self) -> None:
        session = self.session
        self.setEnabled(session.project is not None)
        if session.project is None or session.frames is None:
            self.search.cancel()
            self._show_findings([])
            for view in (self.frames, self.joints):
                view.clear()
            return
        count = len(session.frames.names)
        for widget in (self.slider, self.number):
            widget.blockSignals(True)
        self.slider.setRange(0, count - 1)
        self.number.setRange(1, count)
        self.number.setSuffix(f" of {count}")
        for widget in (self.slider, self.number):
            widget.blockSignals(False)
        self._fill_frames()
        self._fill_joints(session.skeleton)
        self._on_frame(session.frame)
        self._on_label()
        self._on_placing()

    def _on_frame(self, index: int) -> None:
        for widget, value in ((self.slider, index), (self.number, index + 1)):
            widget.blockSignals(True)
            widget.setValue(value)
            widget.blockSignals(False)
        name = self.session.name
        self.name.show_words(name)
        listed = name in self.session.work
        self.listing.setText("Remove frame" if listed else "Add frame")
        self.listing.setToolTip(
            "Take this frame off the list" if listed else "Put this frame on the list"
        )
        self._mark_frame()

    def _on_label(self) -> None:
        session = self.session
        if session.project is None:
            return
        label = session.label
        for joint in range(session.skeleton.num_joints):
            item = self.joints.topLevelItem(joint)
            if item is not None:
                item.setText(0, joint_state(label, joint))
        decided = f"{int(label.decided.sum())} of {len(label.state)}"
        self.status.setText(f"{frame_words(label)}, {decided}")
        self.status.setToolTip(f"{decided} joints are decided")
        for index in range(self.frames.topLevelItemCount()):
            item = self.frames.topLevelItem(index)
            if item is not None and item.text(1) == session.name:
                item.setText(0, frame_words(label))
        self._show_progress()
        self._on_joint(session.joint)

    def _on_joint(self, joint: int) -> None:
        item = self.joints.topLevelItem(joint)
        if item is not None:
            self.joints.setCurrentItem(item)
            self.joints.scrollToItem(item)

    def _on_mode(self, mode: str) -> None:
        self.mode.setCurrentIndex([*MODE_WORDS].index(mode))

    def _on_placing(self) -> None:
        placing = self.session.placing
        self.by_clicks.setChecked(placing.active)
        self.contours.setChecked(placing.contours)
        self.contours.setVisible(placing.has_contours)
        self._on_history()

    def _on_history(self) -> None:
        for button, word, what in (
            (self.undo, "Undo", self.session.undo_words),
            (self.redo, "Redo", self.session.redo_words),
        ):
            button.setEnabled(bool(what))
            words = f"{word}: {what}" if what else f"Nothing to {word.lower()}"
            button.setToolTip(tip(word.lower(), words))
            button.setAccessibleDescription(words)
        project = self.session.project
        self.save.setEnabled(project is not None and project.unsaved and not project.read_only)
        self._check.start()

    def _fill_frames(self) -> None:
        session = self.session
        self.frames.clear()
        for name in session.work:
            reason = session.reasons.get(name, "")
            item = QTreeWidgetItem([frame_words(session.label_of(name)), name, reason])
            item.setToolTip(1, f"{name}\n{reason}".strip())
            item.setToolTip(2, reason)
            self.frames.addTopLevelItem(item)
        self._mark_frame()
        self._show_progress()

    def _mark_frame(self) -> None:
        self.frames.clearSelection()
        for index in range(self.frames.topLevelItemCount()):
            item = self.frames.topLevelItem(index)
            if item is not None and item.text(1) == self.session.name:
                self.frames.setCurrentItem(item)
                self.frames.scrollToItem(item)

    def _show_progress(self) -> None:
        done, of = self.session.progress()
        self.progress_words.setText(
            f"{done} of {of} labelled" if of else "No frames on the list yet"
        )
        self.progress.setRange(0, max(of, 1))
        self.progress.setValue(done)
        for widget in (self.progress, self.frames):  # an empty list leaves its room to the joints
            widget.setVisible(of > 0)

    def _fill_joints(self, skeleton: Skeleton) -> None:
        self.joints.clear()
        sides = joint_sides(skeleton)
        for joint, name in enumerate(skeleton.joints):
            side = {"left": "L", "right": "R"}.get(sides[joint], "")
            item = QTreeWidgetItem(["", name.replace("_", " "), side])
            for place in range(3):
                item.setToolTip(place, joint_hint(skeleton, joint, sides[joint]))
            self.joints.addTopLevelItem(item)

    # ------------------------------------------------------------ findings and suggestions

    def check(self) -> None:
        """Check the labels and list what looks wrong."""
        session = self.session
        if session.project is None:
            return
        found = [f for f in session.findings() if f.severity != "hint"]
        if found != self._findings:  # else the chosen one stays chosen
            self._show_findings(found)

    def _show_findings(self, found: list[Finding]) -> None:
        self.findings.clear()
        self._findings = found
        for finding in found:
            sign = SEVERITY_SIGNS[finding.severity]
            item = QTreeWidgetItem([sign, f"{finding.frame}: {finding.message}"])
            item.setToolTip(1, f"{finding.message}\n{finding.frame}")
            self.findings.addTopLevelItem(item)
        count = len(found)
        noun = "finding" if count == 1 else "findings"
        self.findings_words.setText(f"{count} {noun}" if count else "No findings")
        self.findings.setVisible(count > 0)
        self._offer()

    def _chosen(self) -> Finding | None:
        item = self.findings.currentItem()
        return None if item is None else self._findings[self.findings.indexOfTopLevelItem(item)]

    def _offer(self) -> None:
        """Offer what can be done about the chosen finding."""
        finding = self._chosen()
        self.fix.setVisible(finding is not None and bool(finding.fix))
        self.as_is.setVisible(finding is not None)

    def _go_to_finding(self, item: QTreeWidgetItem) -> None:
        self.findings.setCurrentItem(item)
        self._answer(self.session.show_finding)

    def _answer(self, action: Callable[[Finding], object]) -> None:
        """Show, fix or accept the chosen finding."""
        finding = self._chosen()
        if finding is not None:
            self._do(action, finding)

    def suggest(self) -> None:
        """Look for frames worth labelling, in the background."""
        session = self.session
        if session.project is None or session.frames is None:
            return
        known = {*session.project.names_with_labels, *session.work}
        self.search.start(session.frames, known, self.suggestions)
        self._show_search()

    def _show_search(self) -> None:
        running = self.search.running
        self.suggest_button.setText("Cancel" if running else "Suggest frames")
        self.progress.setRange(0, 0 if running else 1)
        if running:
            self.progress_words.setText("Looking at the frames…")
        else:
            self._show_progress()

    def _on_searched(self, done: int, of: int) -> None:
        self.progress.setRange(0, of)
        self.progress.setValue(done)

    def _on_suggest(self) -> None:
        if self.search.running:
            self.search.cancel()
        else:
            self.suggest()

    # ------------------------------------------------------------ making the widgets

    def _add_frame_bar(self, layout: QVBoxLayout) -> None:
        session = self.session
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Frame")
        self.slider.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.slider.valueChanged.connect(partial(self._do, session.show_frame))
        self.number = QSpinBox()
        self.number.setAccessibleName("Number of the frame")
        self.number.setKeyboardTracking(False)
        self.number.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.number.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.number.valueChanged.connect(lambda n: self._do(session.show_frame, n - 1))
        before = self._action("◀", "previous_frame")
        after = self._action("▶", "next_frame")
        for button in (before, after):
            button.setFixedWidth(28)
        self.name = ElidedLabel()
        self.status = QLabel()
        layout.addLayout(row(before, self.slider, after, self.number, stretch=(0, 1)))
        layout.addLayout(row(self.name, self.status, stretch=(1, 0)))

    def _add_list(self, layout: QVBoxLayout) -> None:
        self.progress_words = QLabel()
        self.suggest_button = action_button(
            "Suggest frames",
            f"Put {self.suggestions} frames that differ on the list",
            self._on_suggest,
        )
        self.listing = action_button("Add frame", "", lambda: self._do(self.session.toggle_in_list))
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(4)
        self.frames = table("Frames to label", ("State", "Frame", "Reason"), 2, rows=3)
        self.frames.setMaximumHeight(112)
        self.frames.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.frames.itemClicked.connect(lambda i: self._do(self.session.show_name, i.text(1)))
        layout.addLayout(
            row(self.progress_words, self.suggest_button, self.listing, stretch=(2, 1, 1))
        )
        layout.addWidget(self.progress)
        layout.addWidget(self.frames)

    def _add_joints(self, layout: QVBoxLayout) -> None:
        self.mode = QComboBox()
        self.mode.addItems([*MODE_WORDS.values()])
        self.mode.setAccessibleName("After a click")
        self.mode.setToolTip(tip("next_mode", "What becomes current after a click"))
        self.mode.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.mode.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.mode.setMinimumContentsLength(10)  # leaves room for the button beside it
        self.mode.activated.connect(lambda i: self._do(self.session.set_mode, MODES[i]))
        self.joints = table("Joints", ("State", "Joint", "Side"), 1, rows=6)
        self.joints.itemClicked.connect(
            lambda i: self._do(self.session.select_joint, self.joints.indexOfTopLevelItem(i))
        )
        self.contours = self._switch("Move contours", "toggle_contours")
        self.contours.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        layout.addLayout(row(QLabel("After a click"), self.mode, self.contours, stretch=(0, 1, 0)))
        layout.addWidget(self.joints, 1)

    def _add_buttons(self, layout: QVBoxLayout) -> None:
        grid = QGridLayout()
        grid.setSpacing(4)
        self.undo, self.redo = self._action("Undo", "undo"), self._action("Redo", "redo")
        self.save = self._action("Save", "save")
        self.by_clicks = self._switch("By clicks", "place_by_clicks")
        rows: tuple[tuple[QWidget, ...], ...] = (
            (
                self._action("Occluded", "toggle_occluded"),
                self._action("Not in image", "mark_absent"),
                self._action("Undecided", "clear_joint"),
                self._more(
                    "Joint",
                    (
                        "next_joint",
                        "previous_joint",
                        "take_suggestion",
                        "let_go",
                        "next_mode",
                    ),
                ),
            ),
            (
                self._action("Template", "place_template", more=f"{BOX[1]}: {BOX[0]}"),
                self.by_clicks,
                self._action("Copy last", "copy_last_pose"),
                self._more(
                    "Pose",
                    (
                        "take_suggestions",
                        "mirror",
                        "swap_sides",
                        "rotate",
                        "scale",
                        "nudge",
                        "copy_pose",
                        "paste_pose",
                    ),
                    (("Clear the pose", self.session.clear_pose),),
                ),
            ),
            (
                self._action("Accept", "accept", primary=True),
                self._action("No pose", "no_pose"),
                self._action("Reject", "reject"),
                self._more("Go to", _GOING),
            ),
            (
                self.undo,
                self.redo,
                self.save,
                self._more(
                    "View",
                    ("fit_to_pose", "toggle_keep_fitting", "hold_to_hide", "toggle_colours"),
                ),
            ),
        )
        for line, buttons in enumerate(rows):
            for place, button in enumerate(buttons):
                grid.addWidget(button, line, place)
        for place in range(4):
            grid.setColumnStretch(place, 1)
        layout.addLayout(grid)

    def _add_findings(self, layout: QVBoxLayout) -> None:
        self.findings_words = QLabel()
        self.fix = action_button(
            "Fix",
            "Make the edit that mends it; undo takes it back",
            lambda: self._answer(self.session.fix),
        )
        self.as_is = action_button(
            "Accept as is",
            "The label is right; the finding comes back when the pose is changed",
            lambda: self._answer(self.session.accept_as_is),
        )
        self.findings = table("Findings", ("Kind", "Finding"), 1, rows=2)
        self.findings.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.findings.setMaximumHeight(64)
        self.findings.itemClicked.connect(self._go_to_finding)
        self.findings.itemSelectionChanged.connect(self._offer)
        keys = action_button("Shortcuts", tip("show_help"), self.layers.show_help)
        for button in (self.fix, self.as_is, keys):
            button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        layout.addLayout(row(self.findings_words, self.fix, self.as_is, keys, stretch=(1,)))
        layout.addWidget(self.findings)
        self._show_findings([])

    def _action(
        self, words: str, action: str, *, more: str = "", primary: bool = False
    ) -> QToolButton:
        act = partial(self._do, self._method(action))
        return action_button(words, f"{tip(action)}\n{more}".strip(), act, primary=primary)

    def _switch(self, words: str, action: str) -> QToolButton:
        """A button that stays down while what it has begun goes on; `_on_placing` says so."""
        button = self._action(words, action)
        button.setCheckable(True)
        button.clicked.connect(lambda: self._on_placing())  # also when it was refused
        return button

    def _method(self, action: str) -> Callable[..., object]:
        if action == "hold_to_hide":
            return self.layers.toggle_hidden
        owners = (self.layers, self.session.placing, self.session)
        return getattr(next(owner for owner in owners if hasattr(owner, action)), action)

    def _more(
        self, title: str, actions: tuple[str, ...], others: tuple[tuple[str, Act], ...] = ()
    ) -> QToolButton:
        """A button with a menu: the actions that are needed less often, with their keys."""
        button = action_button(f"{title} ▾", f"More: {title.lower()}", lambda: None)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.setToolTipsVisible(True)
        for shortcut in SHORTCUTS:
            if shortcut.action in actions:
                entry = QAction(f"{shortcut.words}\t{shown(shortcut.key)}", menu)
                method = partial(self._method(shortcut.action), **shortcut.arguments)
                entry.triggered.connect(partial(self._trigger, method))
                menu.addAction(entry)
        for words, act in others:
            entry = QAction(words, menu)
            entry.triggered.connect(partial(self._trigger, act))
            menu.addAction(entry)
        button.setMenu(menu)
        return button

    def _trigger(self, act: Act, checked: bool = False) -> None:
        self._do(act)


_GOING = (
    "next_in_list",
    "previous_in_list",
    "first_in_list",
    "last_in_list",
    "next_incomplete",
    "previous_incomplete",
    "last_edited",
)


def joint_state(label: FrameLabel, joint: int) -> str:
    """A joint's state as a sign and a word."""
    if label.suggested[joint]:
        return "◌ suggested"
    state = int(label.state[joint])
    words = {VISIBLE: "● visible", OCCLUDED: "○ occluded", ABSENT: "✕ not in image"}
    return words.get(state, "· undecided")


def frame_words(label: FrameLabel) -> str:
    """A frame's status as a sign and a word."""
    status = frame_status(label)
    return f"{FRAME_SIGNS[status]} {status}"


def joint_hint(skeleton: Skeleton, joint: int, side: str) -> str:
    """What to know about a joint when placing it."""
    name = skeleton.joints[joint].replace("_", " ")
    words = [f"{name[0].upper()}{name[1:]}."]
    if side != "middle":
        words.append(f"The person's own {side}, wherever that is in the picture.")
    others = sorted({a if b == joint else b for a, b in skeleton.edges if joint in (a, b)})
    if others:
        joined = " and ".join(skeleton.joints[other].replace("_", " ") for other in others)
        words.append(f"Connected to {joined}.")
    return " ".join(words)
