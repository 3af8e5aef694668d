"""Suggested frames: cover what there is, find what is rare, repeat nothing, tell and obey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.jobs import CancelToken
from flexpose.suggestion import describe, suggest_frames


class Drawn:
    """A source of frames that are drawn when read; ``reads`` are the indices asked for."""

    root, description, notes = Path("drawn"), "drawn frames", ()

    def __init__(self, draw, count, folder=lambda index: "clip", broken=()):
        self._draw, self._broken, self.reads = draw, set(broken), []
        self.names = [f"{folder(index)}/{index:04d}.png" for index in range(count)]

    def read(self, index):
        self.reads.append(index)
        if index in self._broken:
            raise DataFormatError(self.names[index], "", "is broken")
        return self._draw(index)

    def size(self, index):
        return 96, 72


def blob(x, y, seed=0):
    """A bright square on grey, with a little noise."""
    image = np.full((72, 96, 3), 90.0)
    image[int(y) : int(y) + 16, int(x) : int(x) + 12] = 230
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def walk(count, rest=0.0):
    """A blob that goes from left to right, after resting for a share of the time."""
    start = int(count * rest)
    place = [0 if i < start else 80 * (i - start) / (count - start) for i in range(count)]
    return place, Drawn(lambda i: blob(place[i], 30, i), count)


def indices(suggestions):
    return [suggestion.index for suggestion in suggestions]


def test_the_same_comes_back_for_the_same_seed():
    _, source = walk(60)
    first = suggest_frames(source, [], 6, sample=20, seed=3)
    assert suggest_frames(source, [], 6, sample=20, seed=3) == first
    assert [source.names[s.index] for s in first] == [s.name for s in first]
    assert len(set(indices(first))) == 6
    seeds = {tuple(indices(suggest_frames(source, [], 6, sample=20, seed=s))) for s in range(4)}
    assert len(seeds) > 1


def test_more_are_the_fewer_and_some():
    _, source = walk(60)
    few, many = (suggest_frames(source, [], n, min_gap=2) for n in (4, 9))
    assert indices(many)[:4] == indices(few)


def test_the_odd_ones_out_are_found():
    odd = {17: (70, 4), 41: (4, 50), 52: (70, 50)}
    source = Drawn(lambda i: blob(*odd.get(i, (35 + i % 3, 28)), seed=i), 60)
    found = suggest_frames(source, [], 4)
    assert set(odd) < set(indices(found))
    reasons = {s.index: s.reason for s in found}
    assert {reasons[i] for i in odd} == {"unlike any other frame"}
    assert all(s.distance > 1 for s in found if s.index in odd)


def test_a_rare_movement_is_covered_better_than_by_evenly_spaced_frames():
    place, source = walk(80, rest=0.7)
    chosen = np.array([place[i] for i in indices(suggest_frames(source, [], 8))])
    evenly = np.array([place[int((i + 0.5) * 10)] for i in range(8)])
    far = [
        np.abs(np.array(place)[:, None] - known).min(axis=1).mean() for known in (chosen, evenly)
    ]
    assert far[0] < far[1] / 2


def test_the_first_frame_is_typical_and_the_reasons_say_what_each_stands_for():
    source = Drawn(lambda i: blob(10 if i < 30 else 60, 30, i), 40)
    first, second = suggest_frames(source, [], 2)
    assert (first.index < 30, first.reason, first.distance) == (True, "most typical frame", None)
    assert second.index >= 30
    assert second.reason == "like about 10 others"


def test_labelled_frames_count_as_covered():
    source = Drawn(lambda i: blob(10 if i < 30 else 60, 30, i), 40)
    (suggestion,) = suggest_frames(source, [source.names[3], "gone/0001.png"], 1)
    assert suggestion.index >= 30
    assert suggestion.reason == "differs most from the labelled frames"
    assert suggestion.distance > 1
    both = [source.names[3], source.names[35]]
    assert not {3, 35} & set(indices(suggest_frames(source, both, 10)))


def test_what_shows_the_same_is_suggested_once():
    source = Drawn(lambda i: blob(10 + 50 * (i % 2), 30), 40)
    assert len(suggest_frames(source, [], 12, min_gap=0)) == 2
    assert suggest_frames(source, source.names[:2], 12, min_gap=0) == []


def test_suggested_frames_of_one_folder_keep_their_distance():
    _, source = walk(60)
    found = sorted(indices(suggest_frames(source, ["clip/0030.png"], 12, min_gap=7)))
    assert min(np.diff(sorted([*found, 30]))) >= 7
    assert len(found) > 4
    apart = Drawn(lambda i: blob(8 * i, 30), 10, folder=lambda i: f"clip{i}")
    assert len(suggest_frames(apart, [], 10, min_gap=7)) == 10


def test_a_long_source_is_read_evenly_and_in_part():
    _, source = walk(300)
    labelled = source.names[:200:2]
    found = suggest_frames(source, labelled, 5, sample=25)
    assert source.reads == sorted(set(source.reads))
    known = [i for i in source.reads if source.names[i] in labelled]
    new = [i for i in source.reads if source.names[i] not in labelled]
    assert (len(known), len(new)) == (25, 25)
    assert np.diff(known).max() <= 8
    assert np.diff(new).max() <= 16
    assert set(indices(found)) < set(new)
    everything = Drawn(lambda i: blob(i, 30, i), 20)
    suggest_frames(everything, [], 3)
    assert everything.reads == list(range(20))


def test_frames_that_cannot_be_read_are_left_out_and_logged(caplog):
    source = Drawn(lambda i: blob(i, 30, i), 40, broken=range(0, 40, 2))
    found = suggest_frames(source, [], 5)
    assert len(found) == 5
    assert all(i % 2 for i in indices(found))
    assert "0002.png: is broken" in caplog.text
    with pytest.raises(DataFormatError, match=r"0000\.png"):
        suggest_frames(Drawn(blob, 3, broken=range(3)), [], 2)


def test_progress_is_told_and_a_cancel_ends_the_reading():
    _, source = walk(30)
    told, cancel = [], CancelToken()

    def listen(done, total):
        told.append((done, total))
        if done == 4:
            cancel.cancel()

    assert suggest_frames(source, [], 5, cancel=cancel, on_progress=listen) == []
    assert told == [(1, 30), (2, 30), (3, 30), (4, 30)]
    assert len(source.reads) == 4


def test_there_may_be_nothing_to_suggest():
    _, source = walk(5)
    assert suggest_frames(source, source.names, 3) == []
    assert suggest_frames(source, [], 0) == []
    (only,) = suggest_frames(Drawn(lambda i: blob(0, 0), 1), [], 3)
    assert (only.index, only.reason) == (0, "most typical frame")


def test_edges_count_by_place_and_direction():
    upright = np.full((64, 64), 51, np.uint8)
    upright[:, 36:] = 153
    picture, edges = describe(upright)
    assert picture.dtype == edges.dtype == np.float32
    np.testing.assert_allclose(picture, np.repeat([[0.2] * 9 + [0.6] * 7], 16, axis=0), rtol=1e-6)
    # half of the step of 0.4 is felt in each of the two columns beside it, in 8 rows of a cell: 3.2
    expected = np.zeros((8, 8, 8))
    expected[:, 4, 0] = 3.2 / (3.2 + 0.15)
    np.testing.assert_allclose(edges, expected, atol=1e-6)
    _, edges = describe(upright.T)
    expected = np.zeros((8, 8, 8))
    expected[4, :, 4] = 3.2 / (3.2 + 0.15)
    np.testing.assert_allclose(edges, expected, atol=1e-6)
    assert not describe(np.full((64, 64), 9, np.uint8))[1].any()


def test_an_edge_between_two_directions_counts_for_both():
    row, column = np.indices((64, 64))
    slope = np.pi / 8 * 2.25  # a quarter of the way from the third direction to the fourth
    grey = 100 + 1.5 * ((column - 32) * np.cos(slope) + (row - 32) * np.sin(slope))
    _, edges = describe(np.clip(grey, 0, 255).astype(np.uint8))
    strength = edges.sum(axis=(0, 1))
    assert strength[2] / strength[[2, 3]].sum() == pytest.approx(0.75, abs=0.05)
    assert strength[[2, 3]].sum() / strength.sum() > 0.8
