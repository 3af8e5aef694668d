"""The one table of commands; the CLI and the plugin start from here.

To add a job, write a config class (a `JobConfig`) and a function
``run(config, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]``, and add a row. Both are
named by strings, so that nothing heavy is imported before a job starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from flexpose.errors import UnknownNameError


@dataclass(frozen=True)
class Command:
    """One row.

    Attributes
    ----------
    name : what the user types
    config : ``module:class`` of its config
    target : ``module:function`` that does the work
    help : one line
    is_job : whether the target is a job with a run folder, or a tool: a quick function
        ``(config) -> ToolResult``
    writes_file : ``--out`` names the result (the config's ``out``), not the run folder
    """

    name: str
    config: str
    target: str
    help: str
    is_job: bool = True
    writes_file: bool = False


@dataclass(frozen=True)
class ToolResult:
    """What a tool gives back: text for people, plain data for programs, whether all is well."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    ok: bool = True


COMMANDS = (
    Command(
        "train-prior",
        "flexpose.configs.prior:PriorConfig",
        "flexpose.training.prior:run",
        "learn a pose prior from a large set of poses",
    ),
    Command(
        "train-regressor",
        "flexpose.configs.prior:RegressorConfig",
        "flexpose.training.regressor:run",
        "learn to read keypoints from skeleton images",
    ),
    Command(
        "adapt",
        "flexpose.configs.adaptation:AdaptConfig",
        "flexpose.training.adaptation:run",
        "bend a prior towards a dozen labelled poses",
    ),
    Command(
        "adapt-baseline",
        "flexpose.configs.baselines:BaselineConfig",
        "flexpose.training.baseline:run",
        "adapt in another way (fine-tuning, FreezeD, LoRA, AdaGAN, AdaFM, CDC), to compare",
    ),
    Command(
        "sample",
        "flexpose.configs.adaptation:SampleConfig",
        "flexpose.training.sample:run",
        "draw synthetic poses from a prior or an adapted model",
        writes_file=True,
    ),
    Command(
        "train-detector",
        "flexpose.configs.detector:DetectorConfig",
        "flexpose.training.detector:run",
        "learn to read poses off frames, from adapted poses and a few shots",
    ),
    Command(
        "train-uda",
        "flexpose.configs.uda:UdaConfig",
        "flexpose.training.uda.job:run",
        "learn to read poses off frames without labels, from labelled ones of another domain",
    ),
    Command(
        "train-meta",
        "flexpose.configs.meta:MetaConfig",
        "flexpose.training.meta:run",
        "learn weights from which a detector learns quickly from few shots",
    ),
    Command(
        "finetune",
        "flexpose.configs.meta:FinetuneConfig",
        "flexpose.training.finetune:run",
        "learn a few labelled frames from the weights of another detector",
    ),
    Command(
        "predict",
        "flexpose.configs.detector:PredictConfig",
        "flexpose.prediction:run",
        "find the pose in every frame, and say how sure that is",
        writes_file=True,
    ),
    Command(
        "train-translator",
        "flexpose.configs.translator:TranslatorConfig",
        "flexpose.training.translator:run",
        "learn to paint pictures of poses, from frames and adapted poses",
    ),
    Command(
        "translate",
        "flexpose.configs.translator:TranslateConfig",
        "flexpose.training.translate:run",
        "paint a picture of each pose, with its keypoints as a COCO file",
        writes_file=True,
    ),
    Command(
        "demo",
        "flexpose.configs.adaptation:DemoConfig",
        "flexpose.demo:run",
        "the main job on an embedded sample, with pictures",
    ),
    Command(
        "make-studio",
        "flexpose.configs.studio:StudioConfig",
        "flexpose.mannequin.studio:run",
        "draw frames with exact keypoints from motion capture, for training and testing",
    ),
    Command(
        "train-vae",
        "flexpose.configs.difficulty:VaeConfig",
        "flexpose.training.pose_vae:run",
        "learn what is usual among poses, to tell which are hard",
    ),
    Command(
        "score",
        "flexpose.configs.difficulty:ScoreConfig",
        "flexpose.training.pose_vae:score",
        "score poses by a Pose VAE and bin them by difficulty, with figures",
    ),
    Command(
        "reproduce",
        "flexpose.configs.experiment:ReproduceConfig",
        "flexpose.experiments.reproduce:run",
        "run an experiment of the paper, or one of ours, and write its table and figures",
    ),
    Command(
        "import-prior",
        "flexpose.cli.tools:ImportPriorConfig",
        "flexpose.cli.tools:import_prior",
        "weights of another StyleGAN as a prior",
        is_job=False,
    ),
    Command(
        "info",
        "flexpose.cli.tools:InfoConfig",
        "flexpose.cli.tools:info",
        "versions, devices, skeletons",
        is_job=False,
    ),
    Command(
        "convert",
        "flexpose.cli.tools:ConvertConfig",
        "flexpose.cli.tools:convert",
        "poses from one file format to another",
        is_job=False,
    ),
    Command(
        "validate",
        "flexpose.cli.tools:ValidateConfig",
        "flexpose.cli.tools:validate",
        "check a COCO keypoints file, and open it with the COCO clients",
        is_job=False,
    ),
    Command(
        "evaluate distribution",
        "flexpose.cli.tools:CompareConfig",
        "flexpose.cli.tools:compare_distributions",
        "how far poses are from poses of a reference",
        is_job=False,
    ),
    Command(
        "evaluate keypoints",
        "flexpose.cli.tools:ScoreConfig",
        "flexpose.cli.tools:score",
        "how near predicted keypoints are to true ones",
        is_job=False,
    ),
)


def find_command(name: str) -> Command:
    """Row of a name.

    Raises
    ------
    UnknownNameError : there is none.
    """
    for command in COMMANDS:
        if command.name == name:
            return command
    raise UnknownNameError("command", name, (command.name for command in COMMANDS))


def resolve(target: str) -> Any:
    """Import what a string ``module:name`` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
