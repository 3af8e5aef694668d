"""A COCO keypoints file in the hands of its real clients, those that are installed.

Evaluators must give AP 1.000 for the truth as prediction, and for shifted predictions the AP that
our own OKS gives (a wrong area shows only there); sleap-io must find names, edges, frames and
positions.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose.io.base import read_text
from flexpose.io.coco import CocoDataset
from flexpose.io.coco_check import Finding
from flexpose.io.coco_read import read_coco
from flexpose.io.oks import oks, ranked_average_precision
from flexpose.poseset import PoseSet

TOLERANCE = 0.005
_FALLBACK_SIGMA = 0.05  # for skeletons without OKS constants; any value tests the evaluator alike


def run_clients(path: Path | str) -> list[Finding]:
    """Ask every installed client about a file.

    Raises
    ------
    DataFormatError : our own reader refuses the file; ``check_coco`` says more.
    """
    path = Path(path)
    dataset = read_coco(path)
    findings: list[Finding] = []
    for name, module, client in _CLIENTS:
        if importlib.util.find_spec(module) is not None:
            findings += client(path, dataset, name)
    return findings


def installed_clients() -> tuple[str, ...]:
    """Names of the clients that ``run_clients`` would run."""
    return tuple(name for name, module, _ in _CLIENTS if importlib.util.find_spec(module))


def oks_statistics(
    document: Mapping[str, Any], results: list[dict[str, Any]], sigmas: Sequence[float]
) -> tuple[float, ...]:
    """COCO's ten keypoint figures by faster-coco-eval, which must be installed.

    Parameters
    ----------
    document : the truth, a COCO document of one category
    results : at least one prediction, as in a COCO results list

    Returns
    -------
    AP, AP at .5 and .75, AP of medium and large, then AR likewise; -1 where not defined
    """
    return _EVALUATORS["faster-coco-eval"].statistics(document, results, sigmas)


# ---------------------------------------------------------------- evaluators


@dataclass(frozen=True)
class _Evaluator:
    """One COCO evaluator; both have pycocotools' interface."""

    module: str
    dataset_class: str
    make: Callable[[Any, Any, Any, NDArray[np.float64]], Any]

    def average_precision(
        self, path: Path, results: list[dict[str, Any]], sigmas: Sequence[float]
    ) -> float:
        """AP of predictions about the file."""
        return self.statistics(str(path), results, sigmas)[0]

    def statistics(
        self,
        source: str | Mapping[str, Any],
        results: list[dict[str, Any]],
        sigmas: Sequence[float],
    ) -> tuple[float, ...]:
        """All figures of predictions about a file; what the client prints is dropped."""
        module = importlib.import_module(self.module)
        with contextlib.redirect_stdout(io.StringIO()):
            truth = getattr(module, self.dataset_class)(source)
            evaluation = self.make(module, truth, truth.loadRes(results), np.array(sigmas))
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return tuple(map(float, evaluation.stats))


def _pycocotools(module: Any, truth: Any, predicted: Any, sigmas: NDArray[np.float64]) -> Any:
    evaluate = importlib.import_module("pycocotools.cocoeval").COCOeval
    evaluation = evaluate(truth, predicted, "keypoints")
    evaluation.params.kpt_oks_sigmas = sigmas
    return evaluation


def _faster(module: Any, truth: Any, predicted: Any, sigmas: NDArray[np.float64]) -> Any:
    return module.COCOeval_faster(truth, predicted, "keypoints", kpt_oks_sigmas=sigmas)


_EVALUATORS = {
    "pycocotools": _Evaluator("pycocotools.coco", "COCO", _pycocotools),
    "faster-coco-eval": _Evaluator("faster_coco_eval", "COCO", _faster),
}


def _evaluator_findings(path: Path, dataset: CocoDataset, name: str) -> list[Finding]:
    evaluator = _EVALUATORS[name]
    skeleton = dataset.poses.skeleton
    sigmas = skeleton.oks_sigmas or (_FALLBACK_SIGMA,) * skeleton.num_joints
    findings = []
    try:
        # the file's own entries, not what our reader made of them
        document = json.loads(read_text(path))
        labelled = [entry for entry in document["annotations"] if any(entry["keypoints"][2::3])]
        if not labelled:
            return []
        perfect = evaluator.average_precision(path, [_result(e) for e in labelled], sigmas)
        if abs(perfect - 1) > TOLERANCE:
            message = f"{name} gives AP {perfect:.3f} for the truth as prediction, expected 1.000"
            findings.append(_finding(name, message))
        got, own = _shifted(evaluator, document, labelled, sigmas)
        if abs(got - own) > TOLERANCE:
            message = f"{name} gives AP {got:.3f} for shifted poses, our own OKS {own:.3f}"
            findings.append(_finding(name, message))
    except _CLIENT_ERRORS as error:
        findings.append(_finding(name, f"{name} fails: {type(error).__name__}: {error}"))
    return findings


def _result(entry: Mapping[str, Any], score: float = 1.0) -> dict[str, Any]:
    """Prediction that repeats an annotation."""
    kept = {key: entry[key] for key in ("image_id", "category_id", "keypoints")}
    return {**kept, "score": score}


def _shifted(
    evaluator: _Evaluator,
    document: Mapping[str, Any],
    labelled: list[dict[str, Any]],
    sigmas: Sequence[float],
) -> tuple[float, float]:
    """AP of shifted poses by the client and by our OKS, each person in an image of their own."""
    alone = [{**entry, "image_id": number} for number, entry in enumerate(labelled, start=1)]
    images = [
        {"id": entry["image_id"], "file_name": "x.png", "width": 1, "height": 1} for entry in alone
    ]
    table = np.array([e["keypoints"] for e in alone], dtype=float).reshape(len(alone), -1, 3)
    truth = np.where(table[..., 2:] > 0, table[..., :2], np.nan)
    areas = np.array([e["bbox"][2] * e["bbox"][3] for e in alone], dtype=float)
    given = np.array([e["area"] for e in alone], dtype=float)
    areas = np.where(given > 0, given, areas)
    table[..., :2] += (np.linspace(0.01, 0.2, len(alone)) * np.sqrt(areas))[:, None, None]
    own = oks(table[..., :2], truth, areas, sigmas)
    results = [
        _result({**entry, "keypoints": row.ravel().tolist()}, score)
        for entry, row, score in zip(alone, table, own.tolist(), strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alone.json"
        path.write_text(json.dumps({**document, "images": images, "annotations": alone}))
        return evaluator.average_precision(path, results, sigmas), ranked_average_precision(own)


# ---------------------------------------------------------------- sleap-io


def _sleap_findings(path: Path, dataset: CocoDataset, name: str) -> list[Finding]:
    sleap_io = importlib.import_module("sleap_io")
    skeleton = dataset.poses.skeleton
    try:
        with tempfile.TemporaryDirectory() as folder:
            _make_placeholders(Path(folder), dataset)
            labels = sleap_io.load_coco(str(path), dataset_root=folder)
        found = labels.skeletons[0]
        names = tuple(node.name for node in found.nodes)
        edges = [tuple(pair) for pair in found.edge_inds]
        instances = [instance for frame in labels for instance in frame.instances]
        points = np.array([instance.numpy()[:, :2] for instance in instances], dtype=float)
    except _CLIENT_ERRORS as error:
        return [_finding(name, f"{name} fails: {type(error).__name__}: {error}")]
    findings = []
    if names != skeleton.joints:
        findings.append(_finding(name, f"{name} finds the joints {', '.join(names)}"))
    if edges != list(skeleton.edges):
        findings.append(_finding(name, f"{name} finds {len(edges)} edges, or others than ours"))
    if len(instances) != len(dataset.poses):
        message = f"{name} finds {len(instances)} poses, the file has {len(dataset.poses)}"
        findings.append(_finding(name, message))
    elif not _same_positions(points, dataset.poses):
        findings.append(_finding(name, f"{name} finds other positions"))
    return findings


def _make_placeholders(folder: Path, dataset: CocoDataset) -> None:
    """Empty files of the images' names: sleap-io leaves out poses of images that do not exist."""
    for image in dataset.images:
        place = (folder / image.name).resolve()
        if place.is_relative_to(folder.resolve()):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


def _same_positions(points: NDArray[np.float64], poses: PoseSet) -> bool:
    """Whether two lists of poses hold the same positions, in any order (frames may be sorted)."""

    def rows(values: NDArray[Any]) -> NDArray[np.float64]:
        flat = np.nan_to_num(np.asarray(values, dtype=float)).reshape(len(values), -1)
        return flat[np.lexsort(np.round(flat, 2).T)]

    return bool(np.allclose(rows(points), rows(poses.keypoints), atol=0.02))


def _finding(client: str, message: str) -> Finding:
    remedy = "run the check without clients first: it names the cause"
    return Finding(code=f"client-{client}", severity="error", message=message, remedy=remedy)


# what clients raise for files that they cannot read
_CLIENT_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
)

_CLIENTS: tuple[tuple[str, str, Callable[[Path, CocoDataset, str], list[Finding]]], ...] = (
    ("pycocotools", "pycocotools", _evaluator_findings),
    ("faster-coco-eval", "faster_coco_eval", _evaluator_findings),
    ("sleap-io", "sleap_io", _sleap_findings),
)
