"""The picture: one image, one points and one vectors layer, bound to the session.

Layers are views of the session's label. Clicks and drags go to the session, and what the session
says is drawn; the points of the layer are never edited by napari's own tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import napari
import numpy as np
from napari.layers import Image, Points, Vectors
from numpy.typing import NDArray

from flexpose.annotation.label import OCCLUDED, FrameLabel
from flexpose.errors import DataFormatError, FlexPoseError
from napari_flexpose.convert import (
    SIDE_COLOURS,
    edge_vectors,
    joint_sides,
    shown_joints,
    to_rows_columns,
)
from napari_flexpose.keymap import BLOCKED, SHORTCUTS
from napari_flexpose.session import FlexPoseSession

OUTLINE = "#111111"
GRAB_PIXELS = 12.0  # on the screen: how near to a joint a press takes hold of it
CLICK_PIXELS = 4.0  # on the screen: a press that moves further is a drag
FIT_MARGIN = 1.6  # how much larger than the pose the view is after fitting
JOINT_PIXELS, CURRENT_PIXELS = 11.0, 16.0  # on the screen: diameters of joints
EDGE_PIXELS = 2.5  # on the screen
BORDER = 0.14  # of a joint's diameter
POINTS_OPACITY, EDGES_OPACITY, SUGGESTED_OPACITY = 1.0, 0.9, 0.5
UNREADABLE_SIZE = (640, 480)  # of the grey image that stands for one that cannot be read


class PoseLayers:
    """Shows the session's frame and label in a viewer, and hands the mouse and keys on.

    Parameters
    ----------
    ask_help : shows the cheat sheet
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        session: FlexPoseSession,
        ask_help: Callable[[], None] = lambda: None,
    ) -> None:
        self.viewer, self.session, self._ask_help = viewer, session, ask_help
        self.image: Image | None = None
        self.points: Points | None = None
        self.edges: Vectors | None = None
        self._joints: NDArray[np.intp] = np.zeros(0, np.intp)
        self._look: tuple[object, ...] = ()  # of the joints as drawn last
        self._shown_size: tuple[int, int] | None = None
        self._keep_fitting = False
        self._slots: tuple[tuple[Any, Callable[..., None]], ...] = (
            (session.project_changed, self._on_project),
            (session.frame_changed, self._on_frame),
            (session.label_changed, self._on_label),
            (session.joint_changed, self._on_label),
        )
        for signal, slot in self._slots:
            signal.connect(slot)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)

    def close(self) -> None:
        """Remove the layers, with the keys bound on them, and let go of the session."""
        for signal, slot in self._slots:
            signal.disconnect(slot)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        self._remove()

    def activate(self) -> None:
        """Make ours the layer that feels mouse and keys."""
        if self.points is not None:
            self.viewer.layers.selection.active = self.points

    # ------------------------------------------------------------ session -> picture

    def _on_project(self) -> None:
        if self.session.project is None:
            self._remove()
            return
        if self.points is None:
            self._add()
        self._shown_size = None

    def _add(self) -> None:
        """Make the layers; the points layer is the active one and owns the keys."""
        blank = np.zeros((2, 2, 3), np.uint8)
        self.image = self.viewer.add_image(
            blank, rgb=True, contrast_limits=(0, 255), name="Frame", interpolation2d="linear"
        )
        self.edges = self.viewer.add_vectors(
            np.zeros((0, 2, 2), np.float32),
            name="Skeleton",
            vector_style="line",
            opacity=EDGES_OPACITY,
        )
        self.points = self.viewer.add_points(
            np.zeros((0, 2), np.float32), name="Joints", border_width_is_relative=True
        )
        self.points.events.mode.connect(self._keep_mode)
        self.points.mouse_drag_callbacks.append(self._drag)
        self._bind_keys()
        self._name_joint("")
        self.activate()

    def _remove(self) -> None:
        ours = [x for x in (self.points, self.edges, self.image) if x is not None]
        if self.points is not None:
            self.points.mouse_drag_callbacks.clear()
            self.points.keymap.clear()
            self.viewer.canvas.overlays.text.visible = False
        self.image = self.points = self.edges = None
        self._look = ()
        for layer in ours:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _keep_mode(self, event: Any) -> None:
        """Refuse napari's own point tools: they would change the view and not the label."""
        if self.points is not None and self.points.mode != "pan_zoom":
            self.points.mode = "pan_zoom"
            self.session.said.emit("Click to place a joint, drag to move one.")

    def _on_removed(self, event: Any) -> None:
        """Somebody deleted one of our layers: take the others away too, until they are needed."""
        if any(event.value is ours for ours in (self.image, self.points, self.edges)):
            self._remove()
            self.session.said.emit("Labels are safe. Go to any frame to show them again.")

    def _on_frame(self, index: int) -> None:
        if self.session.frames is None:
            return
        if self.image is None:
            self._add()
        assert self.image is not None
        try:
            pixels = self.session.frames.read(index)
        except DataFormatError as error:
            width, height = self._shown_size or UNREADABLE_SIZE
            pixels = np.full((height, width, 3), 40, np.uint8)
            self.session.said.emit(str(error))
        self.image.data = pixels
        size = (pixels.shape[1], pixels.shape[0])
        if size != self._shown_size:
            self._shown_size = size
            self._fit_image()
        if self._keep_fitting:
            self.fit_to_pose()

    def _on_label(self, joint: int = 0) -> None:
        if self.points is None or self.edges is None or self.session.project is None:
            return
        label, skeleton = self.session.label, self.session.skeleton
        self._joints = shown_joints(label)
        self._show_edges(label)
        self._show_joints(label)
        names = skeleton.joints
        current = min(self.session.joint, len(names) - 1)
        words = names[current].replace("_", " ")
        self._name_joint(f"{words}, {current + 1} of {len(names)}")

    def _show_joints(self, label: FrameLabel) -> None:
        """Put a label into the points layer; what did not change is not set again: it costs."""
        assert self.points is not None
        points, joints = self.points, self._joints
        look = (joints.tobytes(), label.state.tobytes(), label.suggested.tobytes())
        with points.events.blocker_all():
            points.data = to_rows_columns(label.points[joints])
            if len(joints) and look != self._look:
                suggested = label.suggested[joints]
                sides = joint_sides(self.session.skeleton)
                faces = np.array([_rgba(SIDE_COLOURS[sides[j]]) for j in joints])
                faces[suggested, 3] = SUGGESTED_OPACITY
                points.features = self._features(label)
                points.face_color = faces
                points.border_color = np.tile(_rgba(OUTLINE), (len(joints), 1))
                points.border_width = np.where(suggested, 0.0, BORDER)
                points.symbol = np.where(label.state[joints] == OCCLUDED, "ring", "disc")
            if len(joints):
                points.size = self._sizes()
            points.selected_data = set()
        self._look = look
        points.refresh(extent=False, thumbnail=False)

    def _features(self, label: FrameLabel) -> dict[str, Any]:
        names = self.session.skeleton.joints
        return {
            "joint": [names[j] for j in self._joints],
            "visibility": [int(label.state[j]) for j in self._joints],
            "status": ["suggested" if label.suggested[j] else "manual" for j in self._joints],
        }

    def _show_edges(self, label: FrameLabel) -> None:
        assert self.edges is not None
        edges, skeleton = self.edges, self.session.skeleton
        vectors, drawn = edge_vectors(label, skeleton.edges)
        sides = skeleton.edge_sides
        with edges.events.blocker_all():
            edges.data = vectors
            if len(drawn):
                edges.edge_color = np.array([_rgba(SIDE_COLOURS[sides[e]]) for e in drawn])
                edges.edge_width = EDGE_PIXELS / self._zoom()
        edges.refresh(extent=False, thumbnail=False)

    def _sizes(self) -> NDArray[np.float64]:
        """Diameters of the joints shown, in image pixels: always the same on the screen."""
        current = self._joints == self.session.joint
        return np.where(current, CURRENT_PIXELS, JOINT_PIXELS) / self._zoom()

    def _on_zoom(self, event: Any) -> None:
        if self.points is None or self.edges is None or not len(self._joints):
            return
        self.points.size = self._sizes()
        self.edges.edge_width = EDGE_PIXELS / self._zoom()

    def _name_joint(self, words: str) -> None:
        """The current joint's name, in a box in the corner of the canvas."""
        text = self.viewer.canvas.overlays.text
        if text.text == words and text.visible:
            return
        text.text = words
        text.position = "top_left"
        text.font_size = 11
        text.color = "white"
        text.box, text.box_color = True, (0.0, 0.0, 0.0, 0.75)
        text.visible = bool(words)

    # ------------------------------------------------------------ mouse -> session

    def _drag(self, layer: Points, event: Any) -> Iterator[None]:
        """A press near a joint moves it, Shift moves the pose; one that stays put is a click."""
        if event.button != 1 or self.session.project is None:
            return
        start, pressed = self._xy(event), np.array(event.pos)
        joint = self._joint_at(start)
        whole = "Shift" in event.modifiers
        layer.mouse_pan = not (whole or joint is not None)
        grip, gesture = self._grip(joint, start), uuid4().hex
        moved, last = False, start
        yield
        while True:
            # pixels of the screen: while panning, the image moves with the mouse
            moved = moved or float(np.hypot(*(np.array(event.pos) - pressed))) > CLICK_PIXELS
            here = self._xy(event)
            if moved and whole:
                shift = (here[0] - last[0], here[1] - last[1])
                self._guarded(self.session.move_pose, *shift, gesture)
                last = here
            elif moved and joint is not None:
                place = (here[0] + grip[0], here[1] + grip[1])
                self._guarded(self.session.move_joint, joint, *place, gesture)
            if event.type != "mouse_move":
                break  # moves in quick succession are dropped, so the release says where it ends
            yield
        layer.mouse_pan = True
        if not moved and joint is not None:
            self.session.select_joint(joint)
        elif not moved and not whole:
            self._guarded(self.session.click, *start)

    def _grip(self, joint: int | None, start: tuple[float, float]) -> tuple[float, float]:
        """From the mouse to the joint it takes hold of, in image pixels: a grip moves nothing."""
        if joint is None:
            return (0.0, 0.0)
        x, y = self.session.label.points[joint].tolist()
        return (x - start[0], y - start[1])

    def _xy(self, event: Any) -> tuple[float, float]:
        assert self.points is not None
        row, column = self.points.world_to_data(event.position)[-2:]
        return float(column), float(row)

    def _joint_at(self, position: tuple[float, float]) -> int | None:
        """The joint under the mouse, None when none is near."""
        if not len(self._joints):
            return None
        points = self.session.label.points[self._joints]
        distances = np.hypot(*(points - np.array(position, np.float32)).T) * self._zoom()
        nearest = int(distances.argmin())
        return int(self._joints[nearest]) if distances[nearest] <= GRAB_PIXELS else None

    def _zoom(self) -> float:
        return float(self.viewer.scene.camera.zoom)

    # ------------------------------------------------------------ keys

    def _bind_keys(self) -> None:
        """Bind every key on our points layer object, so that no other layer feels them."""
        assert self.points is not None
        for shortcut in SHORTCUTS:
            method = getattr(self if shortcut.on_view else self.session, shortcut.action)
            if shortcut.action == "hold_to_hide":
                self.points.bind_key(shortcut.key, method, overwrite=True)
                continue

            def act(
                layer: Points, method: Any = method, arguments: Any = shortcut.arguments
            ) -> None:
                self._guarded(method, **arguments)

            self.points.bind_key(shortcut.key, act, overwrite=True)
        for key in BLOCKED:
            self.points.bind_key(key, lambda layer: None, overwrite=True)

    def _guarded(self, method: Callable[..., None], *values: Any, **arguments: Any) -> None:
        try:
            method(*values, **arguments)
        except FlexPoseError as error:
            self.session.said.emit(str(error))

    # ------------------------------------------------------------ what concerns the view only

    def fit_to_pose(self) -> None:
        """Zoom to the pose, or to the whole image when there is none."""
        if self.image is None or self.session.project is None:
            return
        label = self.session.label
        if label.placed.sum() < 2:
            self._fit_image()
            return
        points = to_rows_columns(label.points[label.placed])
        low, high = points.min(axis=0), points.max(axis=0)
        view = self.viewer.scene.camera
        view.center = (0.0, *((low + high) / 2).tolist())
        extent = np.maximum(high - low, 8.0) * FIT_MARGIN
        view.zoom = float((np.array(self.viewer.canvas.size) / extent).min())

    def _fit_image(self) -> None:
        assert self.image is not None
        self.viewer.fit_to_view(layers=[self.image])

    def toggle_keep_fitting(self) -> None:
        """Zoom to the pose at every new frame, or leave the zoom alone."""
        self._keep_fitting = not self._keep_fitting
        words = "follows the pose" if self._keep_fitting else "stays as it is"
        self.session.said.emit(f"The zoom {words}.")
        if self._keep_fitting:
            self.fit_to_pose()

    def hold_to_hide(self, layer: Points) -> Iterator[None]:
        """Hide joints and edges as long as the key is held."""
        self.toggle_hidden()
        yield
        self.toggle_hidden()

    def toggle_hidden(self) -> None:
        """Hide joints and edges, or show them again."""
        if self.points is None or self.edges is None:
            return
        # not their visibility: the layer with the keys must stay visible to get the release
        hidden = self.points.opacity == 0.0
        self.points.opacity = POINTS_OPACITY if hidden else 0.0
        self.edges.opacity = EDGES_OPACITY if hidden else 0.0

    def show_help(self) -> None:
        """Show the cheat sheet."""
        self._ask_help()


def _rgba(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0]
