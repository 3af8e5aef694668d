"""The skeleton as a label of CVAT, which must exist there before a COCO file can be imported.

The text goes into the raw editor of a project's or task's labels. Written only; poses travel in the
COCO file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from flexpose.io.base import atomic_write_text
from flexpose.skeleton import Skeleton, distinct_colors

_MARGIN, _SIDE = 8.0, 84.0  # the drawing's place on CVAT's canvas of 100 x 100
_REVIEWED = {
    "name": "reviewed",
    "mutable": False,
    "input_type": "checkbox",
    "default_value": "false",
    "values": ["false"],
}
"""CVAT drops an annotation's attributes that its label does not declare."""


def write_cvat_labels(skeleton: Skeleton, path: Path | str) -> None:
    """Write the labels as JSON, in one step.

    Raises
    ------
    DataFormatError : the file cannot be written.
    """
    text = json.dumps(cvat_labels(skeleton), indent=2, ensure_ascii=False)
    atomic_write_text(path, f"{text}\n")


def cvat_labels(skeleton: Skeleton) -> list[dict[str, Any]]:
    """One skeleton label, its sublabels named and ordered as the joints.

    Its attribute ``reviewed`` takes what our COCO files say in ``attributes.reviewed``.
    """
    colors = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in distinct_colors(skeleton.num_joints)]
    sublabels = [
        {"name": joint, "type": "points", "color": color, "attributes": []}
        for joint, color in zip(skeleton.joints, colors, strict=True)
    ]
    return [
        {
            "name": skeleton.category,
            "type": "skeleton",
            "color": colors[skeleton.root],
            "attributes": [dict(_REVIEWED)],
            "sublabels": sublabels,
            "svg": _svg(skeleton),
        }
    ]


def _svg(skeleton: Skeleton) -> str:
    """Nodes and edges of the template that CVAT draws new skeletons with; nodes count from 1."""
    places = _places(skeleton)
    parts = []
    for a, b in skeleton.edges:
        (x1, y1), (x2, y2) = places[a], places[b]
        parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="black" stroke-width="0.5" '
            f'data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}"></line>'
        )
    for number, (joint, (x, y)) in enumerate(zip(skeleton.joints, places, strict=True), start=1):
        parts.append(
            f'<circle r="1.5" cx="{x}" cy="{y}" stroke="black" fill="#b3b3b3" stroke-width="0.1" '
            f'data-type="element node" data-element-id="{number}" data-node-id="{number}" '
            f"data-label-name={quoteattr(joint)}></circle>"
        )
    return "".join(parts)


def _places(skeleton: Skeleton) -> list[tuple[float, float]]:
    """The neutral pose, or a circle, within the canvas."""
    if skeleton.neutral_pose:
        pose = np.array(skeleton.neutral_pose, dtype=np.float64)
    else:
        angle = np.linspace(0, 2 * np.pi, skeleton.num_joints, endpoint=False)
        pose = np.stack([np.sin(angle), -np.cos(angle)], axis=1)
    low, high = pose.min(axis=0), pose.max(axis=0)
    scale = _SIDE / max(float((high - low).max()), 1e-9)
    pose = (pose - (low + high) / 2) * scale + _MARGIN + _SIDE / 2
    return [(round(float(x), 2), round(float(y), 2)) for x, y in pose]
