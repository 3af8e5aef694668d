"""The skeleton editor: joints by name, a neutral pose by clicks, edges from joint to joint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QButtonGroup,
    QDialog,
    QFileDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from flexpose.errors import FlexPoseError
from flexpose.skeleton import Skeleton, load_skeleton, proposed_pairs, save_skeleton
from napari_flexpose.widgets.parts import (
    SkeletonView,
    action_button,
    fitted_shares,
    quiet_label,
    row,
)

HIT = 0.04
"""How near to a joint a click takes it, as a share of the canvas."""

Place = tuple[float, float]


@dataclass
class SkeletonDraft:
    """A skeleton in the making: it may be wrong until `skeleton` checks it.

    Attributes
    ----------
    places : of each joint, as shares of a square canvas; None where it is not placed yet
    """

    name: str = "my_skeleton"
    joints: list[str] = field(default_factory=list)
    places: list[Place | None] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    category: str = "person"
    description: str = ""

    @staticmethod
    def of(skeleton: Skeleton) -> SkeletonDraft:
        """A draft that is the skeleton."""
        places = fitted_shares(skeleton.neutral_pose) or [None] * skeleton.num_joints
        return SkeletonDraft(
            skeleton.name,
            list(skeleton.joints),
            places,
            list(skeleton.edges),
            skeleton.category,
            skeleton.description,
        )

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Left and right joints, as their names suggest."""
        return proposed_pairs(self.joints)

    @property
    def sides(self) -> list[str]:
        """``left``, ``right`` or ``middle`` of each joint."""
        sides = ["middle"] * len(self.joints)
        for left, right in self.pairs:
            sides[left], sides[right] = "left", "right"
        return sides

    def skeleton(self) -> Skeleton:
        """The skeleton, checked.

        Raises
        ------
        DataFormatError : it is none yet, and why.
        """
        placed = [place for place in self.places if place is not None]
        complete = len(placed) == len(self.joints)
        return Skeleton(
            name=self.name,
            joints=tuple(self.joints),
            edges=tuple(self.edges),
            symmetric_pairs=self.pairs,
            neutral_pose=tuple((round(x, 4), round(y, 4)) for x, y in placed) if complete else (),
            category=self.category,
            description=self.description,
        )

    def add(self) -> int:
        """Add a joint with a name that is free; its number."""
        number = len(self.joints) + 1
        while f"joint_{number}" in self.joints:
            number += 1
        self.joints.append(f"joint_{number}")
        self.places.append(None)
        return len(self.joints) - 1

    def remove(self, joint: int) -> None:
        """Remove a joint and its edges."""
        del self.joints[joint], self.places[joint]
        self.edges = [
            (a - (a > joint), b - (b > joint)) for a, b in self.edges if joint not in (a, b)
        ]

    def move(self, joint: int, by: int) -> int:
        """Exchange a joint with one before or after it; its new number."""
        other = joint + by
        if not 0 <= other < len(self.joints):
            return joint
        self.joints[joint], self.joints[other] = self.joints[other], self.joints[joint]
        self.places[joint], self.places[other] = self.places[other], self.places[joint]
        swap = {joint: other, other: joint}
        self.edges = [(swap.get(a, a), swap.get(b, b)) for a, b in self.edges]
        return other

    def toggle_edge(self, a: int, b: int) -> None:
        """Connect two joints, or part them."""
        found = [edge for edge in self.edges if set(edge) == {a, b}]
        if found:
            self.edges.remove(found[0])
        elif a != b:
            self.edges.append((a, b))

    def nearest(self, x: float, y: float) -> int | None:
        """The joint at a place, None when none is near."""
        near = [
            ((place[0] - x) ** 2 + (place[1] - y) ** 2, joint)
            for joint, place in enumerate(self.places)
            if place is not None
        ]
        distance, joint = min(near, default=(1.0, 0))
        return joint if distance <= HIT**2 else None


class SkeletonEditor(QDialog):
    """Edits a copy of a skeleton; `finished_with` hands over the result.

    Parameters
    ----------
    folder : where files are saved if nobody says otherwise
    """

    finished_with = Signal(object)

    def __init__(
        self, skeleton: Skeleton, folder: Path | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Skeleton")
        self.draft = SkeletonDraft.of(skeleton)
        self._folder = folder
        self._from: int | None = None  # where an edge begins
        grid = QGridLayout(self)
        grid.setSpacing(12)
        grid.addLayout(self._left_side(), 0, 0)
        grid.addLayout(self._right_side(), 0, 1)
        self.problem = quiet_label()
        grid.addWidget(self.problem, 1, 0, 1, 2)
        grid.addLayout(
            row(
                action_button("Load…", "Load a skeleton from a file", self._ask_load),
                action_button("Save as…", "Save it as a file", self._ask_save),
                action_button("Cancel", "Change nothing", self.close),
                action_button("Use", "Label with this skeleton", self.use, primary=True),
            ),
            2,
            0,
            1,
            2,
        )
        grid.setColumnStretch(1, 1)
        self.resize(680, 520)
        self._fill(0)

    # ------------------------------------------------------------ what the user does

    def press(self, x: float, y: float) -> None:
        """Place the current joint, or begin or end an edge, at shares of the canvas."""
        if self.placing.isChecked():
            joint = self.current
            if joint is None:
                return
            self.draft.places[joint] = (x, y)
            empty = [i for i, place in enumerate(self.draft.places) if place is None]
            following = next((i for i in empty if i > joint), empty[0] if empty else joint)
            self._fill(following)
            return
        joint = self.draft.nearest(x, y)
        if joint is None or self._from is None:
            self._from = joint
        else:
            self.draft.toggle_edge(self._from, joint)
            self._from = None
        self._fill(joint)

    def add(self) -> None:
        """Add a joint and let its name be typed."""
        self._fill(self.draft.add())
        item = self.list.currentItem()
        if item is not None:
            self.list.editItem(item)

    def remove(self) -> None:
        """Remove the current joint."""
        joint = self.current
        if joint is not None:
            self.draft.remove(joint)
            self._fill(max(joint - 1, 0))

    def reorder(self, by: int) -> None:
        """Move the current joint up or down in the order in which joints are labelled."""
        joint = self.current
        if joint is not None:
            self._fill(self.draft.move(joint, by))

    def load(self, path: Path) -> None:
        """Go on with a skeleton from a file."""
        self._tried(lambda: self._replace(load_skeleton(path)))

    def save(self, path: Path) -> None:
        """Write the skeleton as YAML."""
        if self._tried(lambda: save_skeleton(self.draft.skeleton(), path)):
            self.problem.setText(f"Saved as {path.name}.")

    def use(self) -> None:
        """Hand the skeleton over and close; say what is wrong if it is none yet."""
        try:
            skeleton = self.draft.skeleton()
        except FlexPoseError as error:
            self.problem.setText(str(error))
            return
        self.finished_with.emit(skeleton)
        self.close()

    @property
    def current(self) -> int | None:
        """Number of the current joint."""
        number = self.list.currentRow()
        return number if number >= 0 else None

    # ------------------------------------------------------------ parts

    def _left_side(self) -> QVBoxLayout:
        layout = QVBoxLayout()
        self.name = QLineEdit(self.draft.name)
        self.name.setAccessibleName("Name of the skeleton")
        self.name.textChanged.connect(self._on_name)
        self.list = QListWidget()
        self.list.setAccessibleName("Joints, in the order in which they are labelled")
        self.list.itemChanged.connect(self._on_renamed)
        self.list.currentRowChanged.connect(lambda _: self._draw())
        layout.addWidget(QLabel("Name"))
        layout.addWidget(self.name)
        layout.addWidget(QLabel("Joints, in the order of labelling; double-click renames"))
        layout.addWidget(self.list, 1)
        layout.addLayout(
            row(
                action_button("Add", "Add a joint", self.add),
                action_button("Remove", "Remove the current joint", self.remove),
                action_button("Up", "Label it earlier", lambda: self.reorder(-1)),
                action_button("Down", "Label it later", lambda: self.reorder(1)),
            )
        )
        self.pairs = quiet_label()
        layout.addWidget(self.pairs)
        return layout

    def _right_side(self) -> QVBoxLayout:
        layout = QVBoxLayout()
        self.placing = QRadioButton("Place joints")
        self.connecting = QRadioButton("Draw edges")
        self.placing.setToolTip("Click where the current joint is in the neutral pose")
        self.connecting.setToolTip("Click two joints to connect them, again to part them")
        self.placing.setChecked(True)
        group = QButtonGroup(self)
        group.addButton(self.placing)
        group.addButton(self.connecting)
        self.view = SkeletonView(340)
        self.view.setAccessibleName("Canvas of the neutral pose")
        self.view.pressed.connect(self.press)
        layout.addLayout(row(self.placing, self.connecting))
        layout.addWidget(self.view, 1)
        return layout

    def _fill(self, current: int | None) -> None:
        self.list.blockSignals(True)
        self.list.clear()
        for joint in self.draft.joints:
            item = QListWidgetItem(joint)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            self.list.addItem(item)
        if current is not None:
            self.list.setCurrentRow(min(current, len(self.draft.joints) - 1))
        self.list.blockSignals(False)
        self._draw()

    def _draw(self) -> None:
        draft = self.draft
        self.view.show_parts(draft.places, draft.edges, draft.sides, self.current)
        pairs = ", ".join(f"{draft.joints[a]} and {draft.joints[b]}" for a, b in draft.pairs)
        self.pairs.setText(
            f"Pairs: {pairs}." if pairs else "No pairs. Name joints left_… and right_… for them."
        )
        self.problem.setText("")

    def _on_name(self, text: str) -> None:
        self.draft.name = text

    def _on_renamed(self, item: QListWidgetItem) -> None:
        self.draft.joints[self.list.row(item)] = item.text().strip()
        self._draw()

    def _replace(self, skeleton: Skeleton) -> None:
        self.draft = SkeletonDraft.of(skeleton)
        self.name.setText(skeleton.name)
        self._fill(0)

    def _tried(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except FlexPoseError as error:
            self.problem.setText(str(error))
            return False
        return True

    def _ask_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Load a skeleton", "", "Skeletons (*.yaml *.yml)"
        )
        if name:
            self.load(Path(name))

    def _ask_save(self) -> None:
        start = f"{self.draft.name or 'skeleton'}.yaml"
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the skeleton", str((self._folder or Path.home()) / start), "*.yaml"
        )
        if name:
            self.save(Path(name))
