"""Properties of what is written and read back, over arbitrary poses."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexpose.errors import DataFormatError
from flexpose.io import CocoAnnotation, CocoDataset, CocoImage, read_coco, write_coco
from flexpose.io.coco import coco_document
from flexpose.io.coco_check import check_coco
from flexpose.io.npz import read_npz_poses, write_npz
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton

few = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
parts = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6)
file_names = st.lists(parts, min_size=1, max_size=3).map(lambda names: "/".join(names) + ".png")
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
extra_fields = st.dictionaries(texts.map(lambda key: f"x_{key}"), plain, max_size=2)


@st.composite
def skeletons(draw: st.DrawFn) -> Skeleton:
    shipped = draw(st.sampled_from(["coco17", "body15", "face68", None]))
    if shipped:
        return load_skeleton(shipped)
    count = draw(st.sampled_from([1, 2, 5]))
    names = draw(st.lists(texts, min_size=count, max_size=count, unique=True))
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return Skeleton(name=draw(texts), joints=tuple(names), edges=tuple(edges), category=draw(texts))


@st.composite
def pose_sets(draw: st.DrawFn, skeleton: Skeleton | None = None) -> PoseSet:
    skeleton = skeleton or draw(skeletons())
    names = draw(st.lists(file_names, max_size=4, unique=True))
    owners = draw(st.lists(st.sampled_from(names), max_size=6)) if names else []
    size_of = {name: (draw(st.integers(1, 4000)), draw(st.integers(1, 4000))) for name in names}
    sizes = np.array([size_of[owner] for owner in owners], dtype=np.int32).reshape(-1, 2)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (len(owners), skeleton.num_joints)
    visibility = random.integers(0, 3, shape)
    visibility[:, 0] = np.maximum(visibility[:, 0], 1)
    corners = random.choice([0.0, 1.0, np.nan], (*shape, 2), p=[0.1, 0.1, 0.8])
    where = np.where(np.isnan(corners), random.random((*shape, 2)), corners)
    sure = random.random(shape).round(2) if draw(st.booleans()) else None
    groups = draw(st.none() | st.just(tuple(f"clip {i % 2}" for i in range(len(owners)))))
    return PoseSet(
        skeleton=skeleton,
        keypoints=where * (sizes[:, None] - 1),
        visibility=visibility,
        image_size=sizes,
        confidence=sure,
        image_ids=tuple(owners),
        groups=groups if owners else None,
        source=tuple(draw(st.lists(texts, max_size=2))),
    )


@st.composite
def datasets(draw: st.DrawFn) -> CocoDataset:
    poses = draw(pose_sets())
    details = [
        CocoAnnotation(
            source=draw(st.sampled_from(["manual", "suggested", "synthetic", None])),
            reviewed=draw(st.booleans()),
            model=draw(st.none() | texts),
            seed=draw(st.none() | st.integers()),
            score=draw(st.none() | st.floats(0, 1)),
            fields=draw(extra_fields),
        )
        for _ in range(len(poses))
    ]
    empty = CocoImage(name="ohne Pose/ä.png", width=5, height=4, fields=draw(extra_fields))
    return CocoDataset(
        poses=poses,
        annotations=tuple(details),
        images=(empty,) if draw(st.booleans()) else (),
        info=draw(extra_fields),
        fields=draw(extra_fields),
        category_fields=draw(extra_fields),
    )


def same_but_for_rounding(a: PoseSet, b: PoseSet) -> None:
    assert a.skeleton == b.skeleton
    assert np.array_equal(a.visibility, b.visibility)
    assert np.allclose(a.keypoints, b.keypoints, atol=0.006, equal_nan=True)
    assert np.array_equal(a.image_size, b.image_size)
    assert (a.image_ids, a.groups, a.source) == (b.image_ids, b.groups, b.source)


@few
@given(datasets())
def test_coco_reads_back_what_it_wrote_and_writes_the_same_bytes(dataset: CocoDataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "1.json", Path(folder) / "2.json"
        assert write_coco(dataset, first) == ()
        back = read_coco(first)
        same_but_for_rounding(dataset.poses, back.poses)
        assert all("several poses" in repair for repair in back.repairs)
        provenance = [(d.source, d.model, d.seed) for d in dataset.annotations]
        assert [(d.source, d.model, d.seed) for d in back.annotations] == provenance
        scores = [detail.score for detail in dataset.annotations]
        if dataset.poses.confidence is None:
            assert [detail.score for detail in back.annotations] == scores
        elif len(back.poses):
            assert np.allclose(back.poses.confidence, dataset.poses.confidence, atol=5e-5)
        write_coco(back, second)
        assert first.read_bytes() == second.read_bytes()
        assert [f for f in check_coco(first) if f.severity == "error"] == []


@few
@given(pose_sets(), st.booleans())
def test_npz_is_exact(poses: PoseSet, boxed: bool) -> None:
    if boxed:
        number = len(poses)
        poses = PoseSet(
            **{
                **poses.__dict__,
                "boxes": np.ones((number, 4)) / 3,
                "norm_length": np.ones(number) / 7,
            }
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poses.npz"
        write_npz(poses, path)
        back = read_npz_poses(path)
        names = ("keypoints", "visibility", "image_size", "confidence", "boxes", "norm_length")
        for name in names:
            have, want = getattr(back, name), getattr(poses, name)
            assert (have is None) == (want is None)
            assert have is None or np.array_equal(have, want, equal_nan=name == "keypoints")
        assert back.skeleton == poses.skeleton
        assert (back.image_ids, back.groups) == (poses.image_ids, poses.groups)
        assert back.source == poses.source


def places(value: object, before: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Where the entries of a JSON document stand."""
    inner = list(value.items() if isinstance(value, dict) else enumerate(value[:3]))
    found = [(*before, key) for key, _ in inner]
    for key, entry in inner:
        if isinstance(entry, (dict, list)):
            found += places(entry, (*before, key))
    return found


DOCUMENT, _ = coco_document(
    CocoDataset(poses=PoseSet.create(load_skeleton("body15"), np.full((2, 15, 2), 3.5), (8, 8)))
)
JUNK = [None, 0, -1, 1.5, "x", [], {}, [1], [[1, 2]], True, 1e300, float("nan"), 10**30]


@settings(few, max_examples=200)
@given(st.sampled_from(places(DOCUMENT)), st.sampled_from(JUNK))
def test_junk_anywhere_is_mended_or_refused(place: tuple[object, ...], junk: object) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = junk
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junk.json"
        path.write_text(json.dumps(document))
        check_coco(path)
        try:
            write_coco(read_coco(path), path)
        except DataFormatError:
            return
        assert len(read_coco(path).poses) > 0 or document["annotations"] == []
