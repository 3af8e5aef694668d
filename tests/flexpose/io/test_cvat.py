from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

from conftest import PUPPET

from flexpose.io.cvat import cvat_labels, write_cvat_labels
from flexpose.skeleton import load_skeleton


def test_sublabels_are_named_and_ordered_as_the_joints():
    (label,) = cvat_labels(PUPPET)
    assert set(label) == {"name", "type", "color", "attributes", "sublabels", "svg"}
    assert (label["name"], label["type"]) == ("person", "skeleton")
    assert [sub["name"] for sub in label["sublabels"]] == list(PUPPET.joints)
    assert all(sub["type"] == "points" and sub["attributes"] == [] for sub in label["sublabels"])


def test_whether_a_pose_was_reviewed_is_a_checkbox_that_begins_empty():
    (attribute,) = cvat_labels(PUPPET)[0]["attributes"]
    assert set(attribute) == {"name", "mutable", "input_type", "default_value", "values"}
    assert (attribute["name"], attribute["input_type"]) == ("reviewed", "checkbox")
    assert attribute["default_value"] == "false"
    assert attribute["values"] == ["false"]


def test_the_drawing_has_each_joint_and_edge_within_the_canvas():
    skeleton = load_skeleton("body15")
    (label,) = cvat_labels(skeleton)
    root = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
    nodes = root.findall("circle")
    assert [node.get("data-label-name") for node in nodes] == list(skeleton.joints)
    assert [node.get("data-node-id") for node in nodes] == [str(i + 1) for i in range(15)]
    edges = [
        (int(e.get("data-node-from")) - 1, int(e.get("data-node-to")) - 1)
        for e in root.findall("line")
    ]
    assert edges == list(skeleton.edges)
    places = [float(node.get(axis)) for node in nodes for axis in ("cx", "cy")]
    assert 0 < min(places) < max(places) < 100


def test_the_file_is_the_json_of_the_labels(tmp_path):
    write_cvat_labels(PUPPET, tmp_path / "cvat_labels.json")
    text = (tmp_path / "cvat_labels.json").read_text(encoding="utf-8")
    assert json.loads(text) == cvat_labels(PUPPET)
