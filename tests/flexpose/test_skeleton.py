"""Skeletons: the shipped ones are sound, and files of users are refused with a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from flexpose.errors import DataFormatError, UnknownNameError
from flexpose.skeleton import Skeleton, distinct_colors, load_skeleton, skeleton_names

SHIPPED = [load_skeleton(name) for name in skeleton_names()]
shipped = pytest.mark.parametrize("skeleton", SHIPPED, ids=[s.name for s in SHIPPED])


def swapped_side(name: str) -> str:
    left = name.replace("left", "right")
    return left if left != name else name.replace("right", "left")


def test_all_expected_skeletons_are_shipped():
    expected = {"body15", "coco17", "mpii16", "h36m17", "lsp14", "penn13", "jhmdb15", "face68"}
    assert expected <= set(skeleton_names())


@shipped
def test_edges_and_pairs_are_in_range_and_colours_differ(skeleton):
    n = skeleton.num_joints
    for a, b in (*skeleton.edges, *skeleton.symmetric_pairs):
        assert 0 <= a < n
        assert 0 <= b < n
    undirected = {frozenset(edge) for edge in skeleton.edges}
    assert len(undirected) == len(skeleton.edges)
    assert len(set(skeleton.edge_colors)) == len(skeleton.edges)
    assert len(skeleton.oks_sigmas) in (0, n)


@shipped
def test_flip_is_an_involution_that_maps_edges_to_edges(skeleton):
    flip = np.array(skeleton.flip_index)
    assert (flip[flip] == np.arange(skeleton.num_joints)).all()
    undirected = {frozenset(edge) for edge in skeleton.edges}
    assert {frozenset((flip[a], flip[b])) for a, b in skeleton.edges} == undirected
    if skeleton.oks_sigmas:
        sigmas = np.array(skeleton.oks_sigmas)
        assert (sigmas[flip] == sigmas).all()


@shipped
def test_left_and_right_names_pair_up(skeleton):
    sided = {name for name in skeleton.joints if "left" in name or "right" in name}
    for left, right in skeleton.symmetric_pairs:
        names = skeleton.joints[left], skeleton.joints[right]
        if sided & set(names):
            assert "left" in names[0]
            assert "right" in names[1]
            sided -= set(names)
            if skeleton.name != "face68":  # numbers joints along a contour, not by side
                assert swapped_side(names[0]) == names[1]
    assert not sided


@shipped
def test_stand_ins_name_joints_that_some_shipped_skeleton_has(skeleton):
    known = {joint for other in SHIPPED for joint in other.joints}
    for joint, alternatives in skeleton.derived.items():
        assert joint in skeleton.joints
        assert alternatives
        assert {name for names in alternatives for name in names} <= known


@shipped
def test_plain_data_round_trips(skeleton):
    again = Skeleton.from_dict(yaml.safe_load(yaml.safe_dump(skeleton.to_dict())))
    assert again == skeleton


def test_a_file_of_the_users_own_is_read(tmp_path, puppet):
    path = tmp_path / "puppet.yaml"
    path.write_text(yaml.safe_dump(puppet.to_dict()), encoding="utf-8")
    assert load_skeleton(path) == puppet
    assert load_skeleton(str(path)) == puppet


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'body15'"):
        load_skeleton("body51")
    with pytest.raises(UnknownNameError, match="Did you mean 'left_knee'"):
        load_skeleton("body15").index("left_kne")


GOOD = {"name": "x", "joints": ["a", "b", "c"], "edges": [["a", "b"], ["b", "c"]]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"jonts": []}, "unknown key 'jonts'"),
        ({3: []}, "unknown key 3"),
        ({"edges": None, "joints": []}, "no joints"),
        ({"joints": "abc"}, "expected a list"),
        ({"joints": ["a", "a", "b"], "edges": []}, "same name"),
        ({"edges": [["a", "d"]]}, "not a pair of joints"),
        ({"edges": [["a", "b", "c"]]}, "not a pair of joints"),
        ({"edges": [1, 2]}, "not a pair of joints"),
        ({"edges": 5}, "expected a list"),
        ({"edges": [["a", "a"]]}, "does not join two"),
        ({"symmetric_pairs": [["a", "b"], ["b", "c"]]}, "two symmetric pairs"),
        ({"root": "z"}, "'z' is not a joint"),
        ({"root": ["a"]}, "is not a joint"),
        ({"edge_colors": [[1, 2, 3]]}, "1 edge colours for 2 edges"),
        ({"edge_colors": [[1, 2, 3], [1, 2, 3]]}, "same colour"),
        ({"edge_colors": [[1, 2], [3, 4]]}, "not a colour"),
        ({"edge_colors": [[1, 2, 300], [3, 4, 5]]}, "not a colour"),
        ({"edge_colors": ["red", "green"]}, "not a colour"),
        ({"oks_sigmas": [0.1]}, "1 OKS sigmas for 3 joints"),
        ({"oks_sigmas": ["a", "b", "c"]}, "not a positive number"),
        ({"derived": ["a"]}, "expected a mapping"),
        ({"derived": {"a": ["b"]}}, "not a list of lists"),
    ],
    ids=str,
)
def test_a_damaged_skeleton_is_refused_with_one_sentence(change, problem, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **change}), encoding="utf-8")
    with pytest.raises(DataFormatError) as caught:
        load_skeleton(path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["name", "joints", "edges"])
def test_a_missing_key_is_named(key):
    with pytest.raises(DataFormatError, match=f"the key '{key}' is missing"):
        Skeleton.from_dict({k: v for k, v in GOOD.items() if k != key})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"joints: [a, b\nedges: }", "line 2: is not valid YAML"),
        (b"- a\n- b\n", "expected a mapping"),
        (b"", "expected a mapping"),
        (b"name: \xff\xfe", "UTF-8"),
        (b"name: \x00", "not valid YAML"),
    ],
    ids=str,
)
def test_a_file_that_is_no_skeleton_is_refused_with_one_sentence(content, problem, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(DataFormatError) as caught:
        load_skeleton(path)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataFormatError, match="cannot be read"):
        load_skeleton(tmp_path / "none.yaml")


def test_an_index_out_of_range_is_refused():
    with pytest.raises(DataFormatError, match="does not join two of its 2 joints"):
        Skeleton(name="x", joints=("a", "b"), edges=((0, 2),))
    with pytest.raises(DataFormatError, match="root index 2"):
        Skeleton(name="x", joints=("a", "b"), edges=((0, 1),), root=2)


@pytest.mark.parametrize("count", [0, 1, 2, 14, 66, 100])
def test_colours_without_a_choice_are_distinct(count):
    colors = distinct_colors(count)
    assert len(set(colors)) == count
    assert all(0 <= value <= 255 for color in colors for value in color)
