"""The quick commands: no run folder, no torch; each is ``(config) -> ToolResult``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field

from flexpose.commands import ToolResult, resolve
from flexpose.configs.base import ConfigBase
from flexpose.runs import package_versions
from flexpose.shipped import experiments
from flexpose.skeleton import load_skeleton, skeleton_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flexpose.evaluation.keypoints import KeypointReport
    from flexpose.io.coco_check import Finding
    from flexpose.poseset import PoseSet

_SHOWN = 5  # findings of one code in the text
_PICTURES = (".png", ".pdf", ".svg")


class InfoConfig(ConfigBase):
    """Settings of ``info``: none."""


def info(config: InfoConfig) -> ToolResult:
    """Versions, devices, skeletons and file formats."""
    from flexpose.io import formats

    # by name: the torch zone is reached through strings only
    devices: list[str] = resolve("flexpose.compute:device_lines")()
    skeletons = {name: load_skeleton(name).num_joints for name in skeleton_names()}
    summaries = {name: entry.summary for name, entry in formats().items()}
    versions = package_versions()
    data = {
        "versions": versions,
        "devices": devices,
        "skeletons": skeletons,
        "formats": summaries,
        "experiments": list(experiments()),
    }
    lines = [f"{name} {version}" for name, version in versions.items()]
    lines += ["", "devices:", *(f"  {line}" for line in devices)]
    lines += ["", "skeletons:", *(f"  {name} ({n} joints)" for name, n in skeletons.items())]
    lines += ["", "formats:", *(f"  {name}: {text}" for name, text in summaries.items())]
    lines += ["", "experiments:", f"  {', '.join(experiments())}"]
    return ToolResult("\n".join(lines), data)


class ConvertConfig(ConfigBase):
    """Settings of ``convert``."""

    source: Annotated[Path, tyro.conf.Positional] = Field(
        title="Input", description="File or folder of poses."
    )
    target: Annotated[Path, tyro.conf.Positional] = Field(
        title="Output", description="New file; its ending says the format."
    )
    source_format: str | None = Field(
        None, title="Input format", description="Recognised when not given."
    )
    target_format: str | None = Field(
        None, title="Output format", description="By the ending when not given."
    )
    images: Path | None = Field(
        None, title="Images", description="Their folder, for formats without image sizes."
    )
    skeleton: str | None = Field(
        None, title="Skeleton", description="Map the joints to this skeleton (name or YAML file)."
    )
    group: str | None = Field(
        None, title="Group", description="Only clips, actions or subjects whose name contains this."
    )
    take: int | None = Field(
        None, ge=1, title="Take", description="So many complete poses, spread over the groups."
    )
    seed: int = Field(0, ge=0, title="Seed", description="Of the poses taken.")
    replace: bool = Field(False, title="Replace", description="Write over an output that exists.")


def convert(config: ConvertConfig) -> ToolResult:
    """Read poses, map them when asked, write them in another format."""
    from flexpose.errors import ConfigError
    from flexpose.io import read_poses, write_poses
    from flexpose.mapping import map_poses

    if config.target.exists() and not config.replace:
        raise ConfigError(f"{config.target} exists already.", "Name another, or add --replace.")
    poses = read_poses(config.source, config.source_format, image_root=config.images)
    if config.skeleton is not None:
        poses = map_poses(poses, load_skeleton(config.skeleton))
    poses = _subset(poses, config)
    notes = write_poses(poses, config.target, config.target_format)
    text = f"{config.target}: {len(poses)} poses of {poses.skeleton.name}"
    data = {
        "path": str(config.target),
        "poses": len(poses),
        "skeleton": poses.skeleton.name,
        "notes": list(notes),
    }
    text = "\n".join([text, *notes])
    return ToolResult(text, data)


def _subset(poses: PoseSet, config: ConvertConfig) -> PoseSet:
    """The poses of the wanted groups, and of those as many as are wanted."""
    import numpy as np

    from flexpose.errors import ConfigError

    if config.group is not None:
        groups = poses.groups or ()
        keep = np.array([config.group in name for name in groups], dtype=bool)
        if not keep.any():
            known = ", ".join(sorted(set(groups))[:_SHOWN]) or "none"
            raise ConfigError(
                f"{config.source}: no group's name contains {config.group!r}.",
                f"Its groups: {known}.",
            )
        poses = poses[keep]
    if config.take is not None:
        poses = poses[poses.complete]
        poses = poses[poses.spread_rows(config.take, np.random.default_rng(config.seed))]
    return poses


class ValidateConfig(ConfigBase):
    """Settings of ``validate``."""

    labels: Annotated[Path, tyro.conf.Positional] = Field(
        title="Labels", description="COCO keypoints file."
    )
    images: Path | None = Field(
        None, title="Images", description="Their folder; presence and sizes are checked then."
    )
    clients: bool = Field(
        True, title="Clients", description="Also open the file with the installed COCO clients."
    )


def validate(config: ValidateConfig) -> ToolResult:
    """Check a COCO file; not ok when a finding is an error.

    The clients come last and only for a file without errors, since they fail without saying why.
    """
    from flexpose.io.coco_check import check_coco
    from flexpose.io.coco_clients import installed_clients, run_clients

    findings = check_coco(config.labels, config.images)
    asked: tuple[str, ...] = ()
    if config.clients and not any(f.severity == "error" for f in findings):
        asked = installed_clients()
        findings += run_clients(config.labels)
    errors = sum(f.severity == "error" for f in findings)
    lines = _finding_lines(findings)
    if asked:
        lines.append(f"Opened with {', '.join(asked)}.")
    lines.append(f"{config.labels}: {errors} errors, {len(findings) - errors} warnings")
    data = {"findings": [asdict(finding) for finding in findings], "clients": asked}
    return ToolResult("\n".join(lines), data, ok=errors == 0)


def _finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Text of the findings, the first few of each code."""
    lines, counts = [], Counter(finding.code for finding in findings)
    shown: Counter[str] = Counter()
    for finding in findings:
        shown[finding.code] += 1
        if shown[finding.code] > _SHOWN:
            continue
        places = (("image", finding.image), ("annotation", finding.annotation))
        where = [f"{kind} {place}" for kind, place in (*places, ("joint", finding.joint)) if place]
        text = f"{finding.message}; {finding.remedy}"
        lines.append(": ".join([finding.severity, *([", ".join(where)] if where else []), text]))
        if shown[finding.code] == _SHOWN < counts[finding.code]:
            more = counts[finding.code] - _SHOWN
            lines.append(f"  and {more} more of {finding.code} (--out F writes them all)")
    return lines


class CompareConfig(ConfigBase):
    """Settings of ``evaluate distribution``."""

    generated: Annotated[Path, tyro.conf.Positional] = Field(
        title="Generated poses", description="Any file that convert reads."
    )
    reference: Annotated[Path, tyro.conf.Positional] = Field(
        title="Real poses", description="Best held out from training."
    )
    max_samples: int = Field(
        5000, ge=10, title="Most poses", description="Larger sets are cut to this many."
    )
    neighbours: int = Field(
        5, ge=1, title="Neighbours", description="k of precision, recall, density and coverage."
    )
    seed: int = Field(0, ge=0, title="Seed", description="For the poses drawn.")


def compare_distributions(config: CompareConfig) -> ToolResult:
    """All distances between two files of poses; generated joints are mapped to the real ones."""
    from flexpose.evaluation.distributions import compare
    from flexpose.io import read_poses
    from flexpose.mapping import map_poses

    real = read_poses(config.reference)
    generated = map_poses(read_poses(config.generated), real.skeleton)
    report = compare(
        generated, real, max_samples=config.max_samples, seed=config.seed, k=config.neighbours
    )
    return ToolResult(report.to_markdown(), json.loads(report.to_json()))


class ScoreConfig(ConfigBase):
    """Settings of ``evaluate keypoints``."""

    predicted: Annotated[Path, tyro.conf.Positional] = Field(
        title="Predicted poses", description="Any file that convert reads; one person an image."
    )
    truth: Annotated[Path, tyro.conf.Positional] = Field(
        title="True poses", description="Of the same images, by their names."
    )
    reference: Literal["image", "box", "torso", "head", "inter-ocular", "own"] = Field(
        "image", title="Reference", description="The length that PCK's thresholds are shares of."
    )
    thresholds: tuple[float, ...] = Field(
        (0.05, 0.1, 0.2), title="Thresholds", description="Of PCK, shares of the reference."
    )
    frames: Path | None = Field(
        None, title="Frames", description="Folder of images, video or COCO file, for the sheet."
    )
    sheet: Path | None = Field(
        None,
        title="Sheet",
        description="Picture to write: best, typical and worst predictions on their frames.",
    )


def score(config: ScoreConfig) -> ToolResult:
    """Distances, PCK and OKS AP of predictions; their joints are mapped to the true ones.

    With a sheet, and confidence in the predictions, a figure of it stands beside the sheet.
    """
    from flexpose.errors import ConfigError
    from flexpose.evaluation.keypoints import score_keypoints
    from flexpose.io import read_poses
    from flexpose.mapping import map_poses

    if config.sheet is not None and config.sheet.suffix not in _PICTURES:
        found = config.sheet.suffix or config.sheet.name
        raise ConfigError(f"--sheet ends in {found!r}, expected one of {', '.join(_PICTURES)}.")
    if (config.sheet is None) != (config.frames is None):
        raise ConfigError("--frames and --sheet go together, found one of them.", "Give both.")
    truth = read_poses(config.truth)
    predicted = map_poses(read_poses(config.predicted), truth.skeleton)
    report = score_keypoints(predicted, truth, config.reference, config.thresholds)
    text = report.to_markdown()
    if config.sheet is not None and config.frames is not None:
        written = _write_sheet(predicted, truth, report, config.frames, config.sheet)
        text += "".join(f"\n{path}\n" for path in written)
    return ToolResult(text, json.loads(report.to_json()))


def _write_sheet(
    predicted: PoseSet, truth: PoseSet, report: KeypointReport, frames: Path, sheet: Path
) -> list[Path]:
    """The overlay sheet and, where confidence is known, the figure of it."""
    from flexpose.errors import DataFormatError
    from flexpose.evaluation.figures import overlay_sheet, reliability_figure
    from flexpose.frames import open_frames

    source = open_frames(frames)
    at = {name: index for index, name in enumerate(source.names)}

    def read(name: str) -> NDArray[np.uint8]:
        if name not in at:
            raise DataFormatError(frames, "", f"has no frame {name!r}, which has a prediction.")
        return source.read(at[name])

    written = [overlay_sheet(read, predicted, truth, sheet)]
    if report.calibration:
        beside = sheet.with_name(f"{sheet.stem}-reliability{sheet.suffix}")
        written.append(reliability_figure(report.calibration, beside))
    return written


class ImportPriorConfig(ConfigBase):
    """Settings of ``import-prior``."""

    weights: Annotated[Path, tyro.conf.Positional] = Field(
        title="Weights", description="State dict of another StyleGAN (.pt, .safetensors)."
    )
    target: Annotated[Path, tyro.conf.Positional] = Field(
        title="Output", description="New checkpoint folder."
    )
    family: Literal["rosinality-stylegan2", "rosinality-stylegan1", "nvlabs-ada"] = Field(
        title="Family", description="Whose code trained it."
    )
    skeleton: str = Field(
        "body15", title="Skeleton", description="What its images show (name or YAML file)."
    )
    size: int | None = Field(
        None, title="Canvas in pixels", description="Needed by rosinality-stylegan1 only."
    )


def import_prior(config: ImportPriorConfig) -> ToolResult:
    """Write another StyleGAN's weights as a prior."""
    # by name: the torch zone is reached through strings only
    write = resolve("flexpose.models.foreign:import_prior")
    skeleton = load_skeleton(config.skeleton)
    out = write(config.weights, config.family, skeleton, None, config.target, config.size)
    return ToolResult(f"{out}: a prior of {skeleton.name}", {"path": str(out)})
