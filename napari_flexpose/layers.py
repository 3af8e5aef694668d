"""The picture: one image, one points and one vectors layer, bound to the session.

Layers are views of the session's label. Clicks and drags go to the session, and what the session
says is drawn; the points of the layer are never edited by napari's own tools.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from uuid import uuid4

import napari
import numpy as np
from napari.layers import Image, Points, Vectors
from numpy.typing import NDArray

from flexpose.annotation.label import OCCLUDED, UNDECIDED, FrameLabel
from flexpose.annotation.project import AnnotationProject
from flexpose.errors import DataFormatError
from napari_flexpose.convert import (
    BOX_COLOUR,
    SIDE_COLOURS,
    STATE_COLOURS,
    box_vectors,
    crowding,
    dashed,
    edge_vectors,
    joint_sides,
    joint_states,
    shown_joints,
    to_rows_columns,
)
from napari_flexpose.keymap import BLOCKED, SHORTCUTS
from napari_flexpose.review import Reviewer
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.widgets.parts import attempt
from napari_flexpose.words import percent

OUTLINE = "#111111"
GRAB_PIXELS = 12.0  # on the screen: how near to a joint a press takes hold of it
CLICK_PIXELS = 4.0  # on the screen: a press that moves further is a drag
FIT_MARGIN = 1.6  # how much larger than the pose the view is after fitting
JOINT_PIXELS, LEAST_PIXELS = 11.0, 5.0  # on the screen: diameter of joints, and of crowded ones
CROWDED = 0.75  # of the gap between neighbours, as much as a joint takes
CURRENT_SIZE = 1.45  # of the diameter: the current joint
SUGGESTED_SIZES = (0.6, 0.95)  # likewise: joints that are only suggested, doubtful to sure
HANDLE_SIZE, REST_SIZE = 1.25, 0.65  # likewise, while contours are moved: handles, and the rest
MARK_PIXELS = 15.0  # on the screen: places of a template that were clicked
EDGE_PIXELS, LEAST_EDGE = 2.5, 1.2  # on the screen; thinner with smaller joints
BORDER = 0.14  # of a joint's diameter
POINTS_OPACITY, EDGES_OPACITY = 1.0, 0.9
SUGGESTED_OPACITIES = (0.4, 0.85)  # likewise
FAINT = 0.6  # of the opacity otherwise: joints that cannot be dragged now
VEILED = 0.4  # opacity of edges while places are asked for
UNKNOWN_CONFIDENCE = 0.5  # where nobody said how sure a suggestion is
DASHES = 12  # and as many gaps, on a line as long as the pose; more would cost time in every drag
UNREADABLE_SIZE = (640, 480)  # of the grey image that stands for one that cannot be read
HINT = "click to place a joint, drag to move it, F1 for all keys"
OVERLAY = ("text", "position", "font_size", "color", "box", "box_color", "visible")
"""What we set of the text on the canvas, and put back."""

Position = tuple[float, float]
"""x and y in image pixels."""


@dataclass(frozen=True, eq=False)
class _Drag:
    """A press with the mouse, until its release.

    Attributes
    ----------
    of : what follows the mouse; ``handle`` is a joint with its contour, ``view`` napari's own
        panning
    start : where it began
    before : the label at that time
    joint : under the mouse
    grip : from the mouse to this joint: taking hold of a joint moves nothing
    gesture : makes what it does one undo step
    """

    of: Literal["joint", "handle", "pose", "box", "view"]
    start: Position
    before: FrameLabel
    joint: int | None
    grip: Position
    gesture: str = field(default_factory=lambda: uuid4().hex)


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
        reviewer: Reviewer,
        ask_help: Callable[[], None] = lambda: None,
    ) -> None:
        self.viewer, self.session, self.reviewer = viewer, session, reviewer
        self._ask_help = ask_help
        self.image: Image | None = None
        self.points: Points | None = None
        self.edges: Vectors | None = None
        self._joints: NDArray[np.intp] = np.zeros(0, np.intp)
        self._look: tuple[object, ...] = ()  # of the joints as drawn last
        self._shown_size: tuple[int, int] | None = None
        self._fitted: tuple[float, ...] = ()  # the view that showed the whole image
        self._keep_fitting = False
        self._by_state = False
        self._project: AnnotationProject | None = None
        self._drag: _Drag | None = None  # None also when it was ended before the release
        self._box: tuple[Position, Position] | None = None  # while one is drawn
        self._overlay: dict[str, Any] = {}
        self._slots: tuple[tuple[Any, Callable[..., None]], ...] = (
            (session.project_changed, self._on_project),
            (session.frame_changed, self._on_frame),
            (session.label_changed, self._on_label),
            (session.joint_changed, self._on_label),
            (session.placing.changed, self._on_label),
            (reviewer.changed, self._on_label),
        )
        for signal, slot in self._slots:
            signal.connect(slot)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)
        viewer.canvas.events.size.connect(self._on_resize)

    def close(self) -> None:
        """Remove the layers, with the keys bound on them, and let go of the session."""
        for signal, slot in self._slots:
            signal.disconnect(slot)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        self.viewer.canvas.events.size.disconnect(self._on_resize)
        self._remove()

    def activate(self) -> None:
        """Make ours the layer that feels mouse and keys."""
        if self.points is not None:
            self.viewer.layers.selection.active = self.points
            self.viewer.help = self.points.help

    # ------------------------------------------------------------ session -> picture

    def _on_project(self) -> None:
        if self.session.project is None:
            self._remove()
            return
        if self.points is None:
            self._add()
        if self.session.project is not self._project:  # else only its list or skeleton
            self._project, self._shown_size = self.session.project, None

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
        for layer in (self.image, self.edges, self.points):
            layer.events.mode.connect(self._keep_mode)
        self.points.events.help.connect(self._keep_help)
        self.points.help = HINT
        self.points.mouse_drag_callbacks.append(self._on_press)
        self._bind_keys()
        text = self.viewer.canvas.overlays.text
        self._overlay = {key: getattr(text, key) for key in OVERLAY}
        self._name_joint("")
        self.activate()

    def _remove(self) -> None:
        ours = [x for x in (self.points, self.edges, self.image) if x is not None]
        if self.points is not None:
            self.points.mouse_drag_callbacks.clear()
            self.points.keymap.clear()
            for key, value in self._overlay.items():
                setattr(self.viewer.canvas.overlays.text, key, value)
        self.image = self.points = self.edges = None
        self._project = self._drag = self._box = None
        self._shown_size = None  # napari fits the view to the first layer that comes
        self._look, self._joints = (), np.zeros(0, np.intp)
        for layer in ours:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _keep_mode(self, event: Any) -> None:
        """Refuse napari's own tools: they would move points or the image and not the label."""
        for layer in (self.image, self.edges, self.points):
            if layer is not None and layer.mode != "pan_zoom":
                layer.mode = "pan_zoom"
                self.session.said.emit("Click to place a joint, drag to move one.")

    def _keep_help(self, event: Any) -> None:
        """Say what our layer does; what napari says speaks of tools that we refuse."""
        if self.points is not None:
            self.points.help = HINT

    def _on_removed(self, event: Any) -> None:
        """Somebody deleted one of our layers: take the others away too, until they are needed."""
        if any(event.value is ours for ours in (self.image, self.points, self.edges)):
            self._remove()
            self.session.said.emit("Labels are safe. Go to any frame to show them again.")

    def _on_frame(self, index: int) -> None:
        if self.session.frames is None:
            return
        self._drag = self._box = None  # it was about the frame before
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
        placing = self.session.placing
        self._joints = np.zeros(0, np.intp) if placing.active else shown_joints(label)
        self._show_edges(label)
        if placing.active:  # the pose would cover what is to be clicked
            self._show_marks(placing.points)
            self._name_joint(placing.prompt)
            return
        confidence = self._confidence()
        self._show_joints(label, confidence)
        names = skeleton.joints
        current = min(self.session.joint, len(names) - 1)
        words = f"{names[current].replace('_', ' ')}, {current + 1} of {len(names)}"
        if label.suggested[current]:
            words += ", suggested"
            if np.isfinite(confidence[current]):
                words += f", {percent(confidence[current])} sure"
        self._name_joint(words)

    def _confidence(self) -> NDArray[np.float32]:
        """How sure each joint of the frame is, as far as it is only suggested; NaN: not known."""
        found = self.reviewer.confidence(self.session.name)
        if found is None:
            return np.full(self.session.skeleton.num_joints, np.nan, np.float32)
        return found

    def _show_joints(self, label: FrameLabel, confidence: NDArray[np.float32]) -> None:
        """Put a label into the points layer; what did not change is not set again: it costs."""
        assert self.points is not None
        points, joints = self.points, self._joints
        held, contours = self.session.placing.handles[joints], self.session.placing.contours
        look = (
            self.session.skeleton,
            self._by_state,
            contours,
            label.state.tobytes(),
            label.suggested.tobytes(),
            confidence.tobytes(),
        )
        with points.events.blocker_all():
            points.data = to_rows_columns(label.points[joints])
            if len(joints) and look != self._look:
                suggested = label.suggested[joints]
                faces = self._joint_colours(label)[joints]
                faces[suggested, 3] = _between(SUGGESTED_OPACITIES, confidence[joints][suggested])
                faces[~held, 3] *= FAINT
                points.features = self._features(label, confidence)
                points.face_color = faces
                borders = np.tile(_rgba(OUTLINE), (len(joints), 1))
                borders[~held, 3] = FAINT
                points.border_color = borders
                points.border_width = np.where(suggested & (not contours), 0.0, BORDER)
                points.symbol = np.where(label.state[joints] == OCCLUDED, "ring", "disc")
            if len(joints):
                points.size = self._sizes(confidence)
            points.selected_data = set()
        self._look = look
        points.refresh(extent=False, thumbnail=False)

    def _show_marks(self, places: Sequence[Position]) -> None:
        """Show a cross at each place of the template that was clicked, instead of the pose."""
        assert self.points is not None
        points = self.points
        with points.events.blocker_all():
            points.data = to_rows_columns(np.array(places, np.float32).reshape(-1, 2))
            points.features = {"place": range(1, len(places) + 1)}
            if places:
                points.face_color = np.tile(_rgba(SIDE_COLOURS["middle"]), (len(places), 1))
                points.border_color = np.tile(_rgba(OUTLINE), (len(places), 1))
                points.border_width = BORDER
                points.symbol = "cross"
                points.size = MARK_PIXELS / self._zoom()
            points.selected_data = set()
        self._look = ()
        points.refresh(extent=False, thumbnail=False)

    def _joint_colours(self, label: FrameLabel) -> NDArray[np.float64]:
        if self._by_state:
            return np.array([_rgba(STATE_COLOURS[state]) for state in joint_states(label)])
        return np.array([_rgba(SIDE_COLOURS[side]) for side in joint_sides(self.session.skeleton)])

    def _features(self, label: FrameLabel, confidence: NDArray[np.float32]) -> dict[str, Any]:
        names = self.session.skeleton.joints
        return {
            "joint": [names[j] for j in self._joints],
            "visibility": [int(label.state[j]) for j in self._joints],
            "status": ["suggested" if label.suggested[j] else "manual" for j in self._joints],
            "confidence": confidence[self._joints],
        }

    def _show_edges(self, label: FrameLabel) -> None:
        assert self.edges is not None
        edges, skeleton = self.edges, self.session.skeleton
        vectors, drawn = edge_vectors(label, skeleton.edges)
        sides = skeleton.edge_sides
        names = ["middle" if self._by_state else sides[edge] for edge in drawn]
        colours = [_rgba(SIDE_COLOURS[name]) for name in names]
        vectors, colours = self._dashed(label, vectors, drawn, colours)
        if self.session.placing.active:
            colours = [[*colour[:3], VEILED] for colour in colours]
        if self._box is not None:
            vectors = np.concatenate([vectors, box_vectors(*self._box)])
            colours += [_rgba(BOX_COLOUR)] * 4
        with edges.events.blocker_all():
            edges.data = vectors
            if colours:
                edges.edge_color = np.array(colours)
                edges.edge_width = self._edge_width()
        edges.refresh(extent=False, thumbnail=False)

    def _dashed(
        self,
        label: FrameLabel,
        vectors: NDArray[np.float32],
        drawn: NDArray[np.intp],
        colours: list[list[float]],
    ) -> tuple[NDArray[np.float32], list[list[float]]]:
        """Make dashes of the edges that end in a joint which is only suggested."""
        ends = np.array(self.session.skeleton.edges, np.intp).reshape(-1, 2)[drawn]
        loose = label.suggested[ends].any(axis=1)
        if not loose.any():
            return vectors, colours
        extent = float(np.ptp(label.points[label.placed], axis=0).max())
        dashes, owner = dashed(vectors[loose], extent / (2 * DASHES))
        numbers = [*np.flatnonzero(~loose), *np.flatnonzero(loose)[owner]]
        both = np.concatenate([vectors[~loose], dashes])
        return both, [colours[number] for number in numbers]

    def _sizes(self, confidence: NDArray[np.float32]) -> NDArray[np.float64]:
        """Diameters of the joints shown, in image pixels: the same on the screen at any zoom.

        Only where joints are crowded they are smaller.
        """
        placing, joints = self.session.placing, self._joints
        held = placing.handles[joints]
        suggested = self.session.label.suggested[joints]
        sizes = np.full(len(joints), self._diameter())
        if placing.contours:
            sizes *= np.where(held, HANDLE_SIZE, REST_SIZE)
        else:
            sizes[suggested] *= _between(SUGGESTED_SIZES, confidence[joints][suggested])
        sizes[(joints == self.session.joint) & held] *= CURRENT_SIZE
        return sizes / self._zoom()

    def _diameter(self) -> float:
        """Of a joint, in pixels of the screen: as most of its neighbours allow."""
        gap = crowding(self.session.label.points[self._joints]) * self._zoom()
        return min(max(CROWDED * gap, LEAST_PIXELS), JOINT_PIXELS)

    def _edge_width(self) -> float:
        """In image pixels."""
        share = self._diameter() / JOINT_PIXELS
        return max(EDGE_PIXELS * share, LEAST_EDGE) / self._zoom()

    def _on_zoom(self, event: Any) -> None:
        if self.points is None or self.edges is None or self.session.project is None:
            return
        if self.session.placing.active:
            self.points.size = MARK_PIXELS / self._zoom()
        elif len(self._joints):
            self.points.size = self._sizes(self._confidence())
        self.edges.edge_width = self._edge_width()

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

    def _on_press(self, layer: Points, event: Any) -> Iterator[None]:
        """Follow the mouse until its release; a press that stays put is a click."""
        if event.button != 1 or self.session.project is None:
            return
        if self.viewer.dims.ndisplay != 2:  # a press from aslant is nowhere in the image
            self.session.said.emit("Go back to the flat view to label.")
            return
        self._drag = drag = self._begin(self._xy(layer, event), event.modifiers)
        layer.mouse_pan = drag.of == "view"
        pressed, last, moved = np.array(event.pos), drag.start, False
        yield
        while True:
            # pixels of the screen: while panning, the image moves with the mouse
            moved = moved or float(np.hypot(*(np.array(event.pos) - pressed))) > CLICK_PIXELS
            if moved and self._drag is drag:
                here = self._xy(layer, event)
                self._follow(drag, here, last)
                last = here
            if event.type != "mouse_move":
                break  # moves in quick succession are dropped, so the release says where it ends
            yield
        layer.mouse_pan = True
        if self._drag is drag:
            self._drag = None
            self._end(drag, last, moved)

    def _begin(self, start: Position, modifiers: Any) -> _Drag:
        """What a press takes hold of: a joint that is near, unless a key says another thing."""
        label, grip = self.session.label, (0.0, 0.0)
        joint = self._joint_at(start)  # none while the places of a template are asked for
        if "Control" in modifiers:
            return _Drag("box", start, label, None, grip)
        if "Shift" in modifiers:
            return _Drag("pose", start, label, joint, grip)
        if joint is None:
            return _Drag("view", start, label, None, grip)
        x, y = label.points[joint].tolist()
        of: Literal["joint", "handle"] = "handle" if self.session.placing.contours else "joint"
        return _Drag(of, start, label, joint, (x - start[0], y - start[1]))

    def _follow(self, drag: _Drag, here: Position, last: Position) -> None:
        done = True
        if drag.of == "box":
            self._show_box((drag.start, here))
        elif drag.of == "pose":
            shift = (here[0] - last[0], here[1] - last[1])
            done = self._try(self.session.move_pose, *shift, drag.gesture)
        elif drag.of != "view":
            place = (here[0] + drag.grip[0], here[1] + drag.grip[1])
            if drag.of == "joint":
                done = self._try(self.session.move_joint, drag.joint, *place, drag.gesture)
            else:
                move = self.session.placing.move_handle
                done = self._try(move, drag.before, drag.joint, *place, drag.gesture)
        if not done:
            self._drag = None  # or each move would tell the same error

    def _end(self, drag: _Drag, last: Position, moved: bool) -> None:
        if drag.of == "box":
            self._show_box(None)
            if moved:
                self._try(self.session.place_template_between, drag.start, last)
        elif not moved and drag.of != "pose":
            waiting = self.session.label.state[self.session.joint] == UNDECIDED
            if drag.joint is None or waiting:  # joints may lie on each other: none costs a key
                self._try(self.session.click, *drag.start)
            else:
                self.session.select_joint(drag.joint)

    def _show_box(self, box: tuple[Position, Position] | None) -> None:
        self._box = box
        self._show_edges(self.session.label)

    def _xy(self, layer: Points, event: Any) -> Position:
        row, column = layer.world_to_data(event.position)[-2:]
        return float(column), float(row)

    def _joint_at(self, position: tuple[float, float]) -> int | None:
        """The joint under the mouse that can be dragged, None when none is near."""
        joints = self._joints[self.session.placing.handles[self._joints]]
        if not len(joints):
            return None
        points = self.session.label.points[joints]
        distances = np.hypot(*(points - np.array(position, np.float32)).T) * self._zoom()
        nearest = int(distances.argmin())
        return int(joints[nearest]) if distances[nearest] <= GRAB_PIXELS else None

    def _zoom(self) -> float:
        return float(self.viewer.scene.camera.zoom)

    # ------------------------------------------------------------ keys

    def _bind_keys(self) -> None:
        """Bind every key on our points layer object, so that no other layer feels them."""
        assert self.points is not None
        for shortcut in SHORTCUTS:
            owners = {
                "session": self.session,
                "view": self,
                "review": self.reviewer,
                "placing": self.session.placing,
            }
            method = getattr(owners[shortcut.of], shortcut.action)
            if inspect.isgeneratorfunction(method):  # acts when pressed and when released
                self.points.bind_key(shortcut.key, method, overwrite=True)
                continue

            def act(
                layer: Points, method: Any = method, arguments: Any = shortcut.arguments
            ) -> None:
                self._try(partial(method, **arguments))

            self.points.bind_key(shortcut.key, act, overwrite=True)
        for key in BLOCKED:
            self.points.bind_key(key, lambda layer: None, overwrite=True)

    def _try(self, method: Callable[..., object], *values: Any) -> bool:
        return attempt(self.session, method, *values)

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
        self._fitted = self._view()

    def _view(self) -> tuple[float, ...]:
        camera = self.viewer.scene.camera
        return (float(camera.zoom), *map(float, camera.center))

    def _on_resize(self, event: Any) -> None:
        """Show the whole image in another window too, unless the user chose another view."""
        if self.image is not None and self._view() == self._fitted:
            self._fit_image()

    def toggle_keep_fitting(self) -> None:
        """Zoom to the pose at every new frame, or leave the zoom alone."""
        self._keep_fitting = not self._keep_fitting
        words = "follows the pose" if self._keep_fitting else "stays as it is"
        self.session.said.emit(f"The zoom {words}.")
        if self._keep_fitting:
            self.fit_to_pose()

    def toggle_colours(self) -> None:
        """Let the colours of joints tell their sides, or their states."""
        self._by_state = not self._by_state
        if self.session.project is not None:
            self._on_label()
        self.session.said.emit(
            "Green: visible. Purple: occluded. Yellow: suggested."
            if self._by_state
            else "Blue: the person's left. Orange: right. White: in the middle."
        )

    def let_go(self) -> None:
        """End the drag and take back what it did, or take back the last click on a template.

        Without either, go to the first undecided joint.
        """
        if self.session.project is None:
            return
        drag, self._drag = self._drag, None
        if drag is None:
            if not self.session.placing.take_back():
                self.session.back_to_undecided()
        elif drag.of == "box":
            self._show_box(None)
        else:
            self.session.take_back(drag.before, drag.gesture)

    def hold_to_hide(self, layer: Points) -> Iterator[None]:
        """Hide joints and edges as long as the key is held."""
        self._hide(True)
        yield
        self._hide(False)

    def toggle_hidden(self) -> None:
        """Hide joints and edges, or show them again."""
        if self.points is not None:
            self._hide(self.points.opacity > 0.0)

    def _hide(self, hidden: bool) -> None:
        if self.points is None or self.edges is None:
            return
        # not their visibility: the layer with the keys must stay visible to get the release
        self.points.opacity = 0.0 if hidden else POINTS_OPACITY
        self.edges.opacity = 0.0 if hidden else EDGES_OPACITY

    def show_help(self) -> None:
        """Show the cheat sheet."""
        self._ask_help()


def _rgba(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0]


def _between(ends: tuple[float, float], confidence: NDArray[np.float32]) -> NDArray[np.float64]:
    """Values from the first to the second end, as confidence goes from 0 to 1."""
    share = np.where(np.isfinite(confidence), confidence, UNKNOWN_CONFIDENCE)
    return ends[0] + (ends[1] - ends[0]) * share.astype(np.float64)
