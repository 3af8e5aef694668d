"""Experiments as data: what ``reproduce`` runs, at three scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from flexpose.configs.base import ConfigBase, JobConfig

Recipe = Literal[
    "source",
    "data",
    "shots",
    "mean-pose",
    "mean-source",
    "mixup",
    "mixup-angles",
    "mixup-codes",
    "direct",
    "aligned",
    "adapt",
    "baseline",
    "uda",
    "finetune",
]


Measure = Literal["distribution", "detector", "pairs-loss", "pictures"]


class TargetSpec(ConfigBase):
    """A domain: shots and lessons come from one part of its clips, test poses from the other."""

    title: str = Field("", title="Title")
    source: str | None = Field(
        None, title="Source", description="Whose poses are adapted to it; the first when empty."
    )
    poses: Path | None = Field(
        None,
        title="Poses",
        description="A file below the data folder; without one, an embedded sample.",
    )
    sample: Literal["mannequin", "faces"] = Field("mannequin", title="Embedded sample")
    draw: dict[str, Any] = Field(
        default_factory=dict,
        title="How the sample is drawn",
        description="Of the mannequin: seed, clips_per_action, frames_per_clip, image_size.",
    )
    test: Path | None = Field(None, title="Test poses", description="Where they are another file.")
    groups: tuple[str, ...] = Field(
        (), title="Groups", description="Only clips whose group starts with one of these."
    )
    test_groups: tuple[str, ...] = Field(
        (),
        title="Test groups",
        description="Clips whose group starts with one of these are for testing; else half are.",
    )
    photographs: bool = Field(
        False,
        title="Single photographs",
        description="Each is a clip of its own; else those of a folder are one, where the file "
        "does not say.",
    )
    read: dict[str, Any] = Field(
        default_factory=dict, title="Options of the reader", description="Such as grade: A."
    )
    frames: Path | None = Field(
        None,
        title="Frames",
        description="Folder of images or videos below the data folder, for detectors.",
    )
    most: int = Field(
        5000, ge=1, title="Poses of a part at most", description="Drawn at random from more."
    )
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        title="Settings by command",
        description="They go before a row's own; those of the scale go before them.",
    )
    studio: dict[str, Any] | None = Field(
        None,
        title="Studio",
        description="Settings of make-studio, which then makes frames and poses.",
    )


class SourceSpec(ConfigBase):
    """Where generic poses come from: a prior, and the poses that it learned."""

    prior: str | None = Field(
        None, title="Prior", description="A shipped name or a folder; else one is trained."
    )
    poses: tuple[Path, ...] = Field(
        (),
        title="Poses",
        description="Files below the data folder, joined. Without any, the sample of its source "
        "that travels with the prior stands for them.",
    )
    sample: Literal["faces"] | None = Field(
        None, title="Sample", description="Drawn faces instead of files."
    )
    pictures: TargetSpec | None = Field(
        None, title="Pictures", description="Labelled frames, for rows of uda and finetune."
    )
    train: dict[str, Any] = Field(
        default_factory=dict,
        title="Settings of train-prior",
        description="Where no prior is given; of train-vae where there are pictures. Its "
        "source.skeleton is that of all rows.",
    )

    @model_validator(mode="after")
    def _something(self) -> SourceSpec:
        given = (self.prior, self.poses, self.sample, self.pictures)
        if not any(given):
            raise ValueError("a source needs a prior, pictures, or poses or a sample to learn")
        return self


class RowSpec(ConfigBase):
    """One row of a table: how its poses are made."""

    name: str = Field(title="Name")
    recipe: Recipe = Field(
        title="Recipe",
        description="source: samples of the prior; data: the source's poses; shots: those alone; "
        "mean-pose, mean-source: their mean, or that of the source's poses, told of every frame; "
        "mixup: T*; "
        "mixup-angles, mixup-codes: the same between angles of bones, or between the shots' codes "
        "in the prior; direct: source poses and T*; aligned: true poses of the training clips, "
        "never counted as best; adapt, baseline: a job, then samples; uda: a detector of "
        "the source's pictures by train-uda; finetune: one of `start` tuned to shots.",
    )
    start: str | None = Field(
        None, title="Start", description="Of uda and finetune: one of the scale's starts."
    )
    source: str | None = Field(
        None, title="Source", description="Name of one of the scale's; the target's when empty."
    )
    targets: tuple[str, ...] = Field((), title="Targets", description="Only these; all when empty.")
    shots: int = Field(12, ge=2, title="Shots (M)")
    size: int | None = Field(
        None, ge=10, title="Poses", description="The scale's number when empty."
    )
    mixups: int | float = Field(
        0,
        ge=0,
        title="Pose-mixups among the samples",
        description="How many, or below 1 their share.",
    )
    settings: dict[str, Any] = Field(default_factory=dict, title="Settings of the job")
    detector: dict[str, Any] = Field(
        default_factory=dict, title="Settings of the detector, beside the scale's"
    )
    x: float | None = Field(None, title="Place on a curve")
    line: str = Field("", title="Its curve", description="One for all rows when empty.")
    paper: dict[str, float] = Field(
        default_factory=dict, title="What the paper reports", description="By name of the measure."
    )


class StartSpec(ConfigBase):
    """A detector that several rows go on from: trained once for a target and a seed."""

    command: Literal["train-uda", "train-meta"] = Field("train-uda", title="Command")
    settings: dict[str, Any] = Field(default_factory=dict, title="Its settings")


class ScaleSpec(ConfigBase):
    """The same experiment on other data, larger or smaller."""

    about: str = Field(title="What differs from the paper, in words")
    measure: Measure = Field(
        "distribution",
        title="Measure",
        description="distribution: distances of poses; detector: joints found by a detector that "
        "was trained with them; pairs-loss: what is left of Eq. 5; pictures: joints found by "
        "detectors of labelled pictures, and by bins of difficulty.",
    )
    reference: Literal["box", "inter-ocular"] = Field(
        "box",
        title="Unit of a detector's errors",
        description="PCK's thresholds are shares of it: the person's box, or of faces the "
        "distance of the eyes, in which NME is told too.",
    )
    seeds: tuple[int, ...] = Field((0, 1, 2), title="Seeds")
    rows: tuple[str, ...] = Field((), title="Rows", description="Only these; all when empty.")
    sources: dict[str, SourceSpec] = Field(title="Sources")
    targets: dict[str, TargetSpec] = Field(title="Targets")
    size: int = Field(5000, ge=10, title="Poses of a row")
    starts: dict[str, StartSpec] = Field(
        default_factory=dict,
        title="Starts",
        description="By name; where a row's is none of them, it learns from nothing.",
    )
    bins: int = Field(25, ge=2, title="Bins of difficulty")
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        title="Settings by command",
        description="Of adapt, adapt-baseline, train-detector and so on, or by command and method, "
        "such as `train-uda regda`; they go before a row's own. Of uda and finetune a text that "
        "begins with {data}/ is a file below the data folder.",
    )


class ExperimentSpec(ConfigBase):
    """One experiment: rows of a table, or what a figure shows."""

    title: str = Field(title="Title")
    about: str = Field(title="What it shows")
    figure: Literal["none", "pairs", "map", "curve", "bins"] = Field(
        "none",
        title="Figure",
        description="pairs: before, after, nearest shot; map: t-SNE; curve: the measure over rows; "
        "bins: PCK and EvalPose over difficulty, a curve a row.",
    )
    x_label: str = Field("", title="What rows vary, under a curve")
    y_label: str = Field("", title="What a curve shows")
    rows: tuple[RowSpec, ...] = Field(title="Rows", min_length=1)
    scales: dict[Literal["smoke", "reduced", "full"], ScaleSpec] = Field(title="Scales")

    @model_validator(mode="after")
    def _known_starts(self) -> ExperimentSpec:
        known = {name for scale in self.scales.values() for name in scale.starts}
        for row in self.rows:
            if row.start is not None and row.start not in known:
                there = ", ".join(sorted(known)) or "none"
                raise ValueError(f"{row.name} starts from {row.start!r}; scales have {there}")
        return self


class ReproduceConfig(JobConfig):
    """Run an experiment, or go on with it, and write its table and figures."""

    experiment: str = Field(
        title="Experiment", description="A name that `info` lists, or a YAML file of your own."
    )
    scale: Literal["smoke", "reduced", "full"] = Field(
        "smoke",
        title="Scale",
        description="smoke: minutes, without data; reduced: public data, hours of a processor; "
        "full: the paper's data.",
    )
    data: Path | None = Field(
        None, title="Data", description="Folder that the experiment's files lie below."
    )
    workers: int = Field(
        1, ge=1, title="Processes", description="Cells run side by side; each GPU gets its share."
    )
    cluster: str | None = Field(
        None,
        title="Cluster",
        description="Each cell becomes a job of it, by submitit: slurm, or local for a try. The "
        "run folder must be on a disk that all machines see.",
    )
    cluster_settings: dict[str, Any] = Field(
        default_factory=dict,
        title="Settings of a job on the cluster",
        description="As submitit names them, such as timeout_min: 120, slurm_partition: gpu.",
    )
    rows: tuple[str, ...] = Field(
        (), title="Rows", description="Only rows whose name has one of these words."
    )
    seeds: tuple[int, ...] = Field((), title="Seeds", description="Instead of the scale's.")
