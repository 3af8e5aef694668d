"""Skeletons: the shipped ones are sound, and files of users are refused with a sentence."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose.errors import DataFormatError, UnknownNameError
from flexpose.skeleton import (
    Skeleton,
    distinct_colors,
    load_skeleton,
    proposed_pairs,
    save_skeleton,
    skeleton_names,
)

SHIPPED = [load_skeleton(name) for name in skeleton_names()]
shipped = pytest.mark.parametrize("skeleton", SHIPPED, ids=[s.name for s in SHIPPED])


def swapped_side(name: str) -> str:
    left = name.replace("left", "right")
    return left if left != name else name.replace("right", "left")


def test_all_expected_skeletons_are_shipped():
    people = {"body15", "coco17", "mpii16", "h36m17", "lsp14", "penn13", "jhmdb15"}
    assert people | {"face68", "wflw98", "hand21", "animal17"} <= set(skeleton_names())


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
    if skeleton.oks_sigmas and skeleton.name != "face68":  # COCO-WholeBody's own differ by side
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
            if skeleton.category != "face":  # they number joints along a contour, not by side
                assert swapped_side(names[0]) == names[1]
    assert not sided


@shipped
def test_pairs_of_shipped_skeletons_are_those_their_names_propose(skeleton):
    if skeleton.category != "face":
        assert set(proposed_pairs(skeleton.joints)) == set(skeleton.symmetric_pairs)


@shipped
def test_every_shipped_skeleton_has_a_neutral_pose_of_separate_joints(skeleton):
    pose = np.array(skeleton.neutral_pose)
    assert pose.shape == (skeleton.num_joints, 2)
    gaps = np.linalg.norm(pose[:, None] - pose[None], axis=2)
    gaps[np.diag_indices(len(pose))] = np.inf
    assert gaps.min() > 0.01 * np.linalg.norm(np.ptp(pose, axis=0))


@pytest.mark.parametrize(
    "skeleton", [s for s in SHIPPED if s.category in ("person", "face")], ids=lambda s: s.name
)
def test_people_face_the_viewer_so_that_their_left_is_on_the_right(skeleton):
    pose = np.array(skeleton.neutral_pose)
    left, right = np.array(skeleton.symmetric_pairs).T
    assert (pose[left, 0] > pose[right, 0]).all()
    mirrored = pose[list(skeleton.flip_index)] * [-1, 1]
    np.testing.assert_allclose(mirrored, pose)  # also: what has no side is in the middle


@pytest.mark.parametrize(
    "skeleton", [s for s in SHIPPED if s.category == "person"], ids=lambda s: s.name
)
def test_people_stand_upright(skeleton):
    height = dict(zip(skeleton.joints, np.array(skeleton.neutral_pose)[:, 1], strict=True))
    assert height["left_shoulder"] < height["left_elbow"] < height["left_wrist"]
    assert height["left_shoulder"] < height["left_hip"] < height["left_knee"] < height["left_ankle"]
    heads = [y for name, y in height.items() if name in ("head", "head_top", "face", "nose")]
    assert max(heads) < height["left_shoulder"]


def test_an_animal_is_seen_from_its_left():
    animal = load_skeleton("animal17")
    pose = dict(zip(animal.joints, animal.neutral_pose, strict=True))
    assert pose["nose"][0] < pose["neck"][0] < pose["root_of_tail"][0]  # looks to the left
    paws = sorted(
        pose[f"{side}_{end}_paw"] for side in ("left", "right") for end in ("front", "back")
    )
    steps = np.diff([x for x, _ in paws])
    assert (steps > 20).all()  # four legs apart
    assert pose["left_front_paw"][1] > pose["right_front_paw"][1]  # the near side stands lower


def test_ap10k_joints_are_in_the_order_of_its_files():
    # cocoapi order of the annotation files, and the OKS sigmas of their evaluation
    animal = load_skeleton("animal17")
    assert animal.joints[:5] == ("left_eye", "right_eye", "nose", "neck", "root_of_tail")
    assert animal.joints[7:12:4] == ("left_front_paw", "left_hip")
    assert animal.oks_sigmas[5:8] == (0.079, 0.072, 0.062)


def test_face_landmarks_are_those_of_300_w():
    # the numbers of the 68-point mark-up, which count from 1
    face = load_skeleton("face68")
    numbers = {"jaw_09": 9, "right_brow_1": 18, "left_brow_5": 27, "nose_bridge_4": 31}
    numbers |= {"nose_base_3": 34, "right_eye_1": 37, "left_eye_4": 46, "outer_lip_07": 55}
    assert {name: face.index(name) + 1 for name in numbers} == numbers
    assert face.joints[67] == "inner_lip_8"
    assert (face.oks_sigmas[0], face.oks_sigmas[45], face.oks_sigmas[67]) == (0.042, 0.012, 0.008)


def test_contours_of_a_face():
    face = load_skeleton("face68")
    ranges = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))  # jaw, brows, nose
    rings = ((36, 42), (42, 48), (48, 60), (60, 68))  # eyes, lips
    lines = [tuple(range(*ends)) for ends in ranges]
    assert face.contours == (*lines, *((*range(*ends), ends[0]) for ends in rings))
    hues = [
        [colorsys.rgb_to_hsv(*color)[0] for color in face.edge_colors[first:last]]
        for first, last in pairwise(np.cumsum([0, *(len(c) - 1 for c in face.contours)]))
    ]
    assert all(max(one) < min(other) for one, other in pairwise(hues))  # each has its own colours


def test_contours_of_a_hand_are_its_fingers():
    fingers = load_skeleton("hand21").contours
    assert fingers == tuple((0, *range(first, first + 4)) for first in (1, 5, 9, 13, 17))


@pytest.mark.parametrize(
    ("edges", "contours"),
    [
        ("", ""),
        ("ab", "ab"),
        ("ab bc", "abc"),
        ("cb ab", "cba"),
        ("bc ab", "cba"),
        ("ab bc ca", "abca"),
        ("ab ba", "aba"),
        ("bc cd de ec", "bc cdec"),
        ("ab bc bd", "ab bc bd"),
        ("ab cd", "ab cd"),
        ("de ab bc ca", "de abca"),
    ],
)
def test_contours_end_where_edges_meet_or_come_back_to_their_beginning(edges, contours):
    letters = "abcdef"
    skeleton = Skeleton(
        name="letters",
        joints=tuple(letters),
        edges=tuple((letters.index(a), letters.index(b)) for a, b in edges.split()),
    )
    assert ["".join(letters[i] for i in chain) for chain in skeleton.contours] == contours.split()


@shipped
def test_contours_take_each_edge_once(skeleton):
    steps = [frozenset(step) for chain in skeleton.contours for step in pairwise(chain)]
    assert sorted(steps, key=sorted) == sorted(map(frozenset, skeleton.edges), key=sorted)


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


@shipped
def test_data_without_a_neutral_pose_are_read_and_mean_the_same(skeleton):
    data = skeleton.to_dict()
    del data["neutral_pose"]
    again = Skeleton.from_dict(data)
    assert again.neutral_pose == ()
    assert again.same_layout(skeleton)
    assert again.to_dict() == data


@shipped
def test_a_saved_skeleton_is_read_back(skeleton, tmp_path):
    path = tmp_path / "mine.yaml"
    save_skeleton(skeleton, path)
    assert load_skeleton(path) == skeleton
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.yaml"]


_NAMES = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=8)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_skeleton_survives_its_file(data, tmp_path_factory):
    joints = data.draw(st.lists(_NAMES, min_size=2, max_size=5, unique=True))
    n = len(joints)
    index = st.integers(0, n - 1)
    edge = st.tuples(index, index).filter(lambda e: e[0] != e[1])
    points = st.lists(st.tuples(_NUMBERS, _NUMBERS), min_size=n, max_size=n, unique=True)
    skeleton = Skeleton(
        name=data.draw(_NAMES),
        joints=tuple(joints),
        edges=tuple(data.draw(st.lists(edge, max_size=4))),
        symmetric_pairs=data.draw(st.sampled_from([(), ((0, 1),)])),
        root=data.draw(index),
        neutral_pose=tuple(data.draw(st.one_of(st.just([]), points))),
        description=data.draw(_NAMES).strip(),
    )
    path = tmp_path_factory.mktemp("skeleton") / "mine.yml"
    save_skeleton(skeleton, path)
    assert load_skeleton(path) == skeleton


def test_saving_replaces_what_a_link_points_at(tmp_path, puppet):
    (tmp_path / "real.yaml").write_text("old", encoding="utf-8")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real.yaml")
    save_skeleton(puppet, tmp_path / "link.yaml")
    assert (tmp_path / "link.yaml").is_symlink()
    assert load_skeleton(tmp_path / "real.yaml") == puppet


@pytest.mark.parametrize("name", ["mine.txt", "mine", "none/mine.yaml"])
def test_a_skeleton_that_cannot_be_saved_leaves_nothing(name, tmp_path, puppet):
    with pytest.raises(DataFormatError, match=r"expected a name|cannot be written"):
        save_skeleton(puppet, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        ("nose left_eye right_eye", {("left_eye", "right_eye")}),
        ("right_eye left_eye", {("left_eye", "right_eye")}),
        ("front_left_paw front_right_paw", {("front_left_paw", "front_right_paw")}),
        ("EyeLeft EyeRight", {("EyeLeft", "EyeRight")}),
        ("LEFT_EYE RIGHT_EYE", {("LEFT_EYE", "RIGHT_EYE")}),
        ("L_Eye R_Eye l_ear r_ear", {("L_Eye", "R_Eye"), ("l_ear", "r_ear")}),
        ("R_F_Paw L_F_Paw", {("L_F_Paw", "R_F_Paw")}),
        ("Lank Rank LKnee RKnee", {("Lank", "Rank"), ("LKnee", "RKnee")}),
        ("paw_l paw_r eyeL eyeR", {("paw_l", "paw_r"), ("eyeL", "eyeR")}),
        ("hip-l-1 hip-r-1 leg.L leg.R", {("hip-l-1", "hip-r-1"), ("leg.L", "leg.R")}),
        ("left right", {("left", "right")}),
        ("L R", {("L", "R")}),
        ("left_eye right_ear", set()),
        ("left_eye RIGHT_EYE", set()),
        ("nose tail lip", set()),
        ("pelvis head_top", set()),
    ],
)
def test_pairs_are_proposed_from_names(names, pairs):
    joints = names.split()
    assert {(joints[a], joints[b]) for a, b in proposed_pairs(joints)} == pairs


def test_a_joint_is_proposed_for_one_pair_only():
    joints = ["left_l", "right_l", "left_r", "right_r"]
    pairs = proposed_pairs(joints)
    assert pairs == ((0, 1), (2, 3))
    Skeleton(name="x", joints=tuple(joints), edges=(), symmetric_pairs=pairs)


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
        ({"neutral_pose": [[0, 0], [1, 1]]}, "a neutral pose of 2 points for 3 joints"),
        ({"neutral_pose": [[1, 1]] * 3}, "in one point"),
        ({"neutral_pose": [[0, 0], [1, 1], [1]]}, "not a pair of finite numbers"),
        ({"neutral_pose": [[0, 0], [1, 1], [1, float("nan")]]}, "not a pair of finite numbers"),
        ({"neutral_pose": [[0, 0], [1, 1], [1, 10**400]]}, "not a pair of finite numbers"),
        ({"neutral_pose": [[0, 0], [1, 1], ["a", True]]}, "not a pair of finite numbers"),
        ({"neutral_pose": 3}, "expected a list"),
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


def test_a_neutral_pose_that_is_no_pose_is_refused():
    pair = Skeleton(name="x", joints=("a", "b"), edges=())
    with pytest.raises(DataFormatError, match="not finite"):
        replace(pair, neutral_pose=((0, 0), (1, float("inf"))))
    with pytest.raises(DataFormatError, match="in one point"):
        replace(pair, neutral_pose=((2, 1), (2, 1)))
    assert Skeleton(name="x", joints=("a",), edges=(), neutral_pose=((0, 0),)).neutral_pose


@pytest.mark.parametrize("count", [0, 1, 2, 14, 66, 100])
def test_colours_without_a_choice_are_distinct(count):
    colors = distinct_colors(count)
    assert len(set(colors)) == count
    assert all(0 <= value <= 255 for color in colors for value in color)
