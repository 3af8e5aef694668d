"""Findings: what looks wrong in labels, seen without a model. Nothing here changes a label.

Checks of one frame say what is certain. Swapped sides and odd bones are judged by the other
labelled frames and rather miss an error than accuse a right label: thresholds were set on golf and
catch of JHMDB and on COCO val2017, in sets of 12 to 300 frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexpose.annotation.label import OCCLUDED, UNDECIDED, VISIBLE, FrameLabel
from flexpose.errors import PoseShapeError
from flexpose.skeleton import Skeleton

Severity = Literal["error", "warning", "hint"]
Fix = Literal["", "swap", "accept"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SAME_SPOT = 0.002
"""Share of the diagonal of the pose's box; nearer joints were hardly told apart on purpose."""


@dataclass(frozen=True)
class Finding:
    """One thing in one frame that a person should look at.

    Attributes
    ----------
    frame : name of the frame
    code : short name of the check, such as ``bone-length``
    severity : *error*: cannot be right; *warning*: is probably wrong; *hint*: is left to do
    message : one sentence
    joints : indices of the joints it is about; empty for the whole frame
    fix : edit that would mend it: ``swap`` is `label.swapped` with `swap_order` of the joints,
        ``accept`` is `label.accepted`; empty when only a person can
    """

    frame: str
    code: str
    severity: Severity
    message: str
    joints: tuple[int, ...] = ()
    fix: Fix = ""


def find(
    labels: Mapping[str, FrameLabel],
    skeleton: Skeleton,
    sizes: Callable[[str], tuple[int, int] | None],
) -> list[Finding]:
    """Check labels of J joints; frames in their order, the gravest finding of a frame first.

    What was accepted as it is (`FrameLabel.as_is`) is left out.

    Frames without a word, rejected ones and those without a pose are checked for their image only.

    Parameters
    ----------
    sizes : width and height in pixels of a frame's image, None when the image is missing

    Raises
    ------
    PoseShapeError : a label has another number of joints.
    """
    for frame, label in labels.items():
        if len(label.state) != skeleton.num_joints:
            raise PoseShapeError(
                f"The label of {frame} has {len(label.state)} joints, expected the "
                f"{skeleton.num_joints} of {skeleton.name}."
            )
    said = {frame: label for frame, label in labels.items() if not label.untouched}
    posed = {f: label for f, label in said.items() if label.verdict in ("", "reviewed")}
    names = _Names(skeleton)
    found: list[Finding] = []
    for frame in said:
        size = sizes(frame)
        if size is None:
            message = "The image of this frame is missing."
            found.append(Finding(frame, "image-missing", "error", message))
        elif frame in posed:
            found += _outside(frame, posed[frame], size, names)
    for frame, label in posed.items():
        found += _left_to_do(frame, label, names)
    found += _same_spots(posed, names)
    poses = _Poses.of(posed)
    if poses is not None:
        swaps = list(_swaps(poses, skeleton, names))
        told = {(swap.frame, joint) for swap in swaps for joint in swap.joints}
        found += swaps
        for bone in _bones(poses, skeleton, names):  # those of swapped limbs are long
            if not told & {(bone.frame, joint) for joint in bone.joints}:
                found.append(bone)
    found = [f for f in found if not {*marks(f, skeleton)} <= {*labels[f.frame].as_is}]
    place = {frame: index for index, frame in enumerate(labels)}
    grave = {"error": 0, "warning": 1, "hint": 2}
    return sorted(found, key=lambda f: (place[f.frame], grave[f.severity], f.code, f.joints))


def marks(finding: Finding, skeleton: Skeleton) -> tuple[str, ...]:
    """How a finding is remembered that was accepted: its check, with each of its joints.

    So it is also known again when other frames make it tell fewer joints.
    """
    joints = [skeleton.joints[joint] for joint in finding.joints]
    return tuple(f"{finding.code} {joint}" for joint in joints) or (finding.code,)


def swap_order(skeleton: Skeleton, joints: Sequence[int]) -> tuple[int, ...]:
    """Permutation of the joints that exchanges the given ones with their partners."""
    flip = skeleton.flip_index
    chosen = {*joints, *(flip[joint] for joint in joints)}
    return tuple(flip[j] if j in chosen else j for j in range(skeleton.num_joints))


class _Names:
    """Joint names in words."""

    def __init__(self, skeleton: Skeleton) -> None:
        self._words = [joint.replace("_", " ") for joint in skeleton.joints]

    def __call__(self, joints: Sequence[int], most: int = 4) -> str:
        words = [self._words[joint] for joint in joints]
        if len(words) > most:
            words = [*words[: most - 1], f"{len(words) - most + 1} more joints"]
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

    def are(self, joints: Sequence[int]) -> str:
        """Joints and the verb that suits their number."""
        return f"{self(joints)} {'is' if len(joints) == 1 else 'are'}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _joints(mask: Bools) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())


# ---------------------------------------------------------------- one frame


def _left_to_do(frame: str, label: FrameLabel, names: _Names) -> Iterator[Finding]:
    """Joints that nobody has decided about, and poses without a visible joint or any joint."""
    severity: Severity = "warning" if label.verdict == "reviewed" else "hint"
    undecided, suggested = _joints(label.state == UNDECIDED), _joints(label.suggested)
    if not label.placed.any() and (label.verdict == "reviewed" or not undecided):
        message = "No joint has a position; if the frame shows no pose, say so."
        yield Finding(frame, "no-position", "warning", message)
        return
    if undecided:
        message = _sentence(f"{names.are(undecided)} still undecided")
        yield Finding(frame, "undecided", severity, message, undecided)
    if suggested:
        whole = len(suggested) == label.placed.sum()
        what = "the whole pose is" if whole else names.are(suggested)
        message = _sentence(f"{what} suggested, and nobody has looked at it yet")
        yield Finding(frame, "suggestion", severity, message, suggested, "accept")
    elif label.placed.any() and (label.state[label.placed] == OCCLUDED).all():
        message = "All joints that have a position are marked as occluded."
        yield Finding(frame, "all-occluded", "hint", message)


def _outside(
    frame: str, label: FrameLabel, size: tuple[int, int], names: _Names
) -> Iterator[Finding]:
    """Joints beyond the borders of the image: an error if said to be visible."""
    inside = ((label.points >= -0.5) & (label.points <= np.array(size) - 0.5)).all(axis=1)
    severities: dict[int, Severity] = {VISIBLE: "error", OCCLUDED: "hint"}
    for state, severity in severities.items():
        joints = _joints((label.state == state) & ~inside)
        if joints:
            message = _sentence(f"{names.are(joints)} outside the image")
            yield Finding(frame, "outside", severity, message, joints)


def _same_spots(labels: Mapping[str, FrameLabel], names: _Names) -> Iterator[Finding]:
    """Visible joints in one place, unless they often are (closed lips, say)."""
    close: dict[str, list[tuple[int, int]]] = {}
    habits: Counter[tuple[int, int]] = Counter()
    for frame, label in labels.items():
        seen = np.flatnonzero((label.state == VISIBLE) & ~label.suggested)
        points = label.points[seen].astype(np.float64)
        gaps = np.linalg.norm(points[:, None] - points, axis=2)
        near = gaps <= SAME_SPOT * _diagonal(label.points[label.placed])
        first, second = np.nonzero(np.triu(near, k=1))
        close[frame] = list(zip(seen[first].tolist(), seen[second].tolist(), strict=True))
        habits.update(close[frame])
    usual = {pair for pair, count in habits.items() if count > max(2, len(labels) / 10)}
    for frame, pairs in close.items():
        odd = [pair for pair in pairs if pair not in usual]
        while odd:
            spot = sorted({joint for pair in odd if odd[0][0] in pair for joint in pair})
            message = _sentence(f"{names.are(spot)} on one spot")
            yield Finding(frame, "same-spot", "warning", message, tuple(spot))
            odd = [pair for pair in odd if not {*pair} & {*spot}]


# ---------------------------------------------------------------- all frames

_COMPARED = 300
"""Frames, evenly spread, that a pose is compared with."""
_FEW_JOINTS, _MOST = 4, 0.7
"""Joints, at least, and share of a pose's joints that two poses need in common to be compared."""


@dataclass(frozen=True)
class _Poses:
    """Decided positions of all frames, as arrays; suggestions are no evidence.

    Attributes
    ----------
    frames : N names
    points : float64 (N, J, 2), in units of the diagonal of the pose's box; NaN where not decided
    middles : float64 (N, 1, 2), mean of the points of each pose
    seen : bool (N, J), decided and visible
    """

    frames: tuple[str, ...]
    points: Floats
    middles: Floats
    seen: Bools

    @staticmethod
    def of(labels: Mapping[str, FrameLabel]) -> _Poses | None:
        """Poses with at least two joints apart; None without any."""
        decided = {f: label.placed & label.decided for f, label in labels.items()}
        sizes = {f: _diagonal(label.points[decided[f]]) for f, label in labels.items()}
        frames = tuple(frame for frame in labels if sizes[frame] > 0)
        if not frames:
            return None
        known = np.stack([decided[f] for f in frames])
        points = np.stack([labels[f].points.astype(np.float64) / sizes[f] for f in frames])
        points[~known] = np.nan
        visible = np.stack([labels[f].state == VISIBLE for f in frames])
        return _Poses(frames, points, np.nanmean(points, axis=1, keepdims=True), known & visible)

    def distance(self, row: int, order: Sequence[int]) -> float:
        """Mean joint distance from a pose, its joints permuted, to the nearest of another frame.

        Poses are moved onto each other; infinite where no other has most of the joints.
        """
        pose, count = self.points[row, list(order)], len(self.frames)
        near = np.arange(max(row - 2, 0), min(row + 3, count))  # of a video, perhaps
        spread = np.linspace(0, count - 1, min(count, _COMPARED)).astype(np.intp)
        gaps = self.points[np.setdiff1d(np.append(near, spread), [row])] - pose
        both = np.isfinite(gaps[..., 0])
        shared = both.sum(axis=1)
        enough = shared >= max(_FEW_JOINTS, _MOST * np.isfinite(pose[:, 0]).sum())
        gaps, both, shared = np.nan_to_num(gaps[enough]), both[enough], shared[enough]
        gaps -= (gaps.sum(axis=1) / shared[:, None])[:, None]
        distances = (np.linalg.norm(gaps, axis=2) * both).sum(axis=1) / shared
        return float(distances.min(initial=np.inf))


def _diagonal(points: NDArray[np.float32]) -> float:
    """Diagonal of the box around points (n, 2); 0 without any."""
    return float(np.linalg.norm(np.ptp(points, axis=0))) if len(points) else 0.0


# ---------------------------------------------------------------- swapped sides
#
# A pair's vector runs from its right joint to its left one. Within a frame these vectors point
# about the same way, be the person seen from the front or from behind; those of a limb with
# swapped sides point against the rest. How much that says is learnt from the other frames. A whole
# pose with swapped sides looks like a person seen from the other side, so it takes more to tell.

_PRIOR_FRAMES, _PRIOR_SPREAD = 20, 0.1
"""How many frames it takes to believe that two vectors go together."""
_LEAST_SPREAD, _MOST_EVIDENCE = 0.08, 2.0
"""Frames of one video agree too well, and no two vectors alone shall decide."""
_NEARER = 40.0
"""Weight of the log ratio by which the swap brings the pose nearer to that of another frame."""
_SWAPPED = 30.0
"""Evidence that tells a swap; fewer than 1 in 100 frames of COCO and JHMDB reach it."""
_EQUAL, _HALF = 0.03, 0.5
"""Mean joint distance of almost equal poses; how much nearer swapping a whole pose must bring."""
_RARER_VIEW, _MANY_FRAMES = 0.1, 20
"""Share of frames from the rarer side, and frames of a pair, that show that its order is fixed."""


def _swaps(poses: _Poses, skeleton: Skeleton, names: _Names) -> Iterator[Finding]:
    """Frames that fit the others far better with the sides of a limb, or all, exchanged."""
    if not skeleton.symmetric_pairs:
        return
    left, right = np.array(skeleton.symmetric_pairs, dtype=np.intp).T
    vectors = poses.points[:, left] - poses.points[:, right]
    places = (poses.points[:, left] + poses.points[:, right]) / 2 - poses.middles
    agreement = _agreement(vectors)
    turned = _turned(vectors, places, poses.seen[:, left] & poses.seen[:, right])
    limbs = _limbs(skeleton)
    against = -np.einsum("lp,npq,lq->nl", limbs, _evidence(agreement), ~limbs, optimize=True)
    for row, frame in enumerate(poses.frames):
        placed = np.isfinite(poses.points[row, :, 0])
        own = poses.distance(row, range(skeleton.num_joints))
        best, limb = _SWAPPED, None
        for at in np.flatnonzero(against[row] > 0).tolist():
            other = poses.distance(row, swap_order(skeleton, left[limbs[at]].tolist()))
            evidence = against[row, at] + _NEARER * _log_ratio(own, other)
            if evidence > best:
                best, limb = evidence, limbs[at]
        if limb is not None:
            lefts, rights = (side[limb & placed[side]].tolist() for side in (left, right))
            message = _sentence(f"{names(lefts)} may be swapped with {names(rights)}")
            yield Finding(frame, "swap", "warning", message, tuple(lefts + rights), "swap")
            continue
        whole = poses.distance(row, skeleton.flip_index)
        equal = np.isfinite(own) and whole < min(_EQUAL, _HALF * own)
        if equal or (turned[row] and agreement[row].sum() > 0):
            joints = tuple(joint for pair in skeleton.symmetric_pairs for joint in pair)
            message = "Left and right may be swapped in the whole pose."
            yield Finding(frame, "swap", "warning", message, joints, "swap")


def _agreement(vectors: Floats) -> Floats:
    """How much any two of P vectors (N, P, 2) of a frame go together, (N, P, P); unknown is 0.

    The cosine times the shorter length: short vectors, as of a person from the side, say little.
    """
    vectors = np.nan_to_num(vectors)
    lengths = np.linalg.norm(vectors, axis=2)
    longer = np.maximum(lengths[:, :, None], lengths[:, None])
    agreement = np.einsum("npi,nqi->npq", vectors, vectors) / np.maximum(longer, 1e-9)
    agreement[:, np.eye(vectors.shape[1], dtype=bool)] = 0
    return np.asarray(agreement)


def _evidence(agreement: Floats) -> Floats:
    """Log-likelihood ratio (N, P, P) of two vectors as they are and with one of them reversed.

    Mean and spread are those of the other frames, drawn to 0 while these are few.
    """
    known = agreement != 0
    count = known.sum(axis=0) - known + _PRIOR_FRAMES
    mean = np.maximum(agreement.sum(axis=0) - agreement, 0) / count
    squares = (agreement**2).sum(axis=0) - agreement**2 + _PRIOR_FRAMES * _PRIOR_SPREAD**2
    variance = np.maximum(squares / count - mean**2, _LEAST_SPREAD**2)
    ratio = 2 * mean * agreement / variance
    return np.asarray(np.clip(ratio, -_MOST_EVIDENCE, _MOST_EVIDENCE))


def _limbs(skeleton: Skeleton) -> Bools:
    """Limbs (L, P): pairs that stay connected when at most two of their edges are cut."""
    pair_of = {joint: at for at, pair in enumerate(skeleton.symmetric_pairs) for joint in pair}
    edges = sorted(
        {
            (min(ends), max(ends))
            for ends in ((pair_of.get(a, -1), pair_of.get(b, -1)) for a, b in skeleton.edges)
            if min(ends) >= 0 and ends[0] != ends[1]
        }
    )
    count = len(skeleton.symmetric_pairs)
    found: set[tuple[int, ...]] = set()
    for cut in ((), *combinations(edges, 1), *combinations(edges, 2)):
        part = list(range(count))
        for a, b in edges:
            if (a, b) not in cut:
                part = [part[a] if p == part[b] else p for p in part]
        found |= {tuple(i for i in range(count) if part[i] == p) for p in set(part)}
    limbs = np.zeros((len(found), count), dtype=bool)
    for row, limb in enumerate(sorted(found, key=lambda limb: (len(limb), limb))):
        limbs[row, list(limb)] = True
    return limbs


def _log_ratio(own: float, other: float) -> float:
    """Logarithm of own / other, kept from -0.2 to 1; 0 where there is nothing to compare with."""
    if not np.isfinite(own) or not np.isfinite(other):
        return 0.0
    return float(np.clip(np.log(max(own, 1e-9) / max(other, 1e-9)), -0.2, 1))


def _turned(vectors: Floats, places: Floats, seen: Bools) -> Bools:
    """Frames (N,) in which a pair stands the other way round than it ever does.

    Eyes, say: people are seen from the front and from behind, but both eyes only from the front.

    Parameters
    ----------
    vectors, places : float (N, P, 2), from right joint to left one, and from the middle of the
        pose to that of the pair; NaN unknown
    seen : bool (N, P), both joints are visible
    """
    views = np.sign(np.nansum(vectors[..., 0], axis=1))
    if min((views > 0).mean(), (views < 0).mean()) < _RARER_VIEW:
        return np.zeros(len(views), dtype=bool)
    # both the order on the screen and the turn about the middle: one alone is also that of a
    # person upside down, or of one who bends over
    turns = places[..., 0] * vectors[..., 1] - places[..., 1] * vectors[..., 0]
    odd = seen & _never_so(vectors[..., 0], seen) & _never_so(turns, seen)
    return np.asarray(odd.any(axis=1))


def _never_so(values: Floats, known: Bools) -> Bools:
    """Where values (N, P) have a sign that next to none of many other frames has."""
    signs = np.where(known, np.sign(np.nan_to_num(values)), 0)
    others = (signs != 0).sum(axis=0) - 1
    alike = np.where(signs > 0, (signs > 0).sum(axis=0), (signs < 0).sum(axis=0)) - 1
    return np.asarray((signs != 0) & (others >= _MANY_FRAMES) & (alike <= others / 100))


# ---------------------------------------------------------------- bone lengths

_FEW_FRAMES, _FEW_BONES = 5, 4
"""Frames, at least, that tell how long a bone is, and bones that tell how large a pose is."""
_LARGE = 0.7
"""A pose is as large as its longer bones say, as others point at the camera."""
_SPREADS, _LEAST_SPREAD_UP, _MARGIN = 2.0, 0.1, 0.3
"""A bone is odd that is longer than usual by two spreads and a third; 1 in 100 real frames."""


def _bones(poses: _Poses, skeleton: Skeleton, names: _Names) -> Iterator[Finding]:
    """Bones far longer than usual for a pose of that size.

    Short ones are not told: a bone that points at the camera is short in any picture.
    """
    excess = _excess(poses, skeleton)
    for row, frame in enumerate(poses.frames):
        odd = [skeleton.edges[bone] for bone in np.flatnonzero(excess[row] > 0).tolist()]
        while odd:
            # the joint in which most of them meet; of a single one the outer end
            ends = Counter(joint for a, b in odd for joint in (b, a))
            joint = ends.most_common(1)[0][0]
            others = [a if b == joint else b for a, b in odd if joint in (a, b)]
            message = _sentence(f"{names([joint])} is unusually far from {names(others)}")
            yield Finding(frame, "bone-length", "warning", message, (joint, *others))
            odd = [edge for edge in odd if joint not in edge]


def _excess(poses: _Poses, skeleton: Skeleton) -> Floats:
    """Logarithm (N, E) of how far bones exceed what is usual for them; -inf where not known.

    The left and the right one of a bone are of one kind and share what is usual.
    """
    first, second = np.array(skeleton.edges, dtype=np.intp).reshape(-1, 2).T
    lengths = np.linalg.norm(poses.points[:, first] - poses.points[:, second], axis=2)
    logs = np.log(np.where(lengths > 0, lengths, np.nan))
    excess = np.full_like(logs, -np.inf)
    rows = np.flatnonzero(np.isfinite(logs).sum(axis=1) >= _FEW_BONES)
    if len(rows) < _FEW_FRAMES:
        return excess
    logs, kinds = logs[rows], _kinds(skeleton)
    usual = np.zeros(len(skeleton.edges))
    relative = logs
    for _ in range(4):  # how large poses are and how long bones are, in turn; settles in three
        relative = logs - np.nanquantile(logs - usual, _LARGE, axis=1, keepdims=True)
        for kind in kinds:
            usual[kind] = _quantile(relative[:, kind], 0.5)
    relative -= usual
    for kind in kinds:
        if np.isfinite(relative[:, kind]).any(axis=1).sum() >= _FEW_FRAMES:
            upward = max(_quantile(relative[:, kind], 0.84), _LEAST_SPREAD_UP)
            excess[np.ix_(rows, np.array(kind))] = relative[:, kind] - _SPREADS * upward - _MARGIN
    return excess


def _kinds(skeleton: Skeleton) -> list[list[int]]:
    """Indices of edges, those that left and right exchange together."""
    flip = skeleton.flip_index
    kinds: dict[frozenset[frozenset[int]], list[int]] = {}
    for bone, (a, b) in enumerate(skeleton.edges):
        kind = frozenset({frozenset((a, b)), frozenset((flip[a], flip[b]))})
        kinds.setdefault(kind, []).append(bone)
    return list(kinds.values())


def _quantile(values: Floats, share: float) -> float:
    """Quantile of the values that are known; 0 without any."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else 0.0
