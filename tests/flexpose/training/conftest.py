"""Tiny priors of the puppet, trained once a session through the jobs themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flexpose import sampling
from flexpose.checkpoint import load_checkpoint
from flexpose.configs.adaptation import AdaptConfig, SampleConfig
from flexpose.configs.baselines import BaselineConfig
from flexpose.configs.detector import DetectorConfig
from flexpose.configs.difficulty import VaeConfig
from flexpose.configs.prior import PriorConfig, RegressorConfig
from flexpose.configs.translator import TranslatorConfig
from flexpose.events import JobFinished
from flexpose.io import write_poses
from flexpose.mannequin import mannequin_frames
from flexpose.sampling import PoseSampler
from flexpose.training import adaptation, loop, prior

_compare, _draw, _sampled = prior.compare, PoseSampler.draw, prior.PriorTask._sampled
TEACHER = {
    "kind": "keypoints",
    "z_dim": 6,
    "w_dim": 8,
    "width": 16,
    "depth": 3,
    "mapping_depth": 2,
    "disc_width": 16,
}
DRAWS = {
    "kind": "image",
    "size": 32,
    "z_dim": 6,
    "w_dim": 8,
    "mapping_depth": 2,
    "channel_base": 256,
    "channel_max": 8,
}


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Report every step, and measure and fit on fewer poses."""
    patch.setattr(loop, "REPORT_SECONDS", 0.0)
    patch.setattr(prior, "compare", lambda a, b, seed: _compare(a[:60], b, seed=seed))
    patch.setattr(prior.PriorTask, "_sampled", lambda task, n, random: _sampled(task, 3, random))
    patch.setattr(adaptation, "_POOL", 128)
    patch.setattr(PoseSampler, "draw", lambda s, n, random: _draw(s, min(n, 150), random))
    patch.setitem(sampling._CHUNK, "image", 25)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of this folder look at mechanics; quality is measured elsewhere."""
    make_quick(monkeypatch)


@dataclass(frozen=True)
class Workshop:
    """Files of the puppet, trained models, and configs that use them."""

    path: Path

    @property
    def source(self) -> dict[str, Any]:
        return {"poses": self.path / "source.npz", "skeleton": str(self.path / "puppet.yaml")}

    def prior(self, **changes: Any) -> PriorConfig:
        values = {
            "source": self.source,
            "generator": TEACHER,
            "steps": 4,
            "batch_size": 8,
            "r1_every": 2,
            "mixing": 0.5,
            "rotation_deg": 5,
        }
        return PriorConfig.model_validate({**values, "device": "cpu", **changes})

    def draws(self, **changes: Any) -> PriorConfig:
        return self.prior(**{"generator": DRAWS, "batch_size": 4, **changes})

    def taught(self, **changes: Any) -> PriorConfig:
        return self.draws(**{"teacher": str(self.keypoints), "teacher_steps": 3, **changes})

    def regressor(self, **changes: Any) -> RegressorConfig:
        values = {"source": self.source, "size": 32, "width": 4, "steps": 4, "batch_size": 4}
        return RegressorConfig.model_validate({**values, "device": "cpu", **changes})

    def vae(self, **changes: Any) -> VaeConfig:
        values = {"source": self.source, "width": 8, "latent": 2, "steps": 4, "batch_size": 8}
        return VaeConfig.model_validate({**values, "device": "cpu", **changes})

    def adapt(self, **changes: Any) -> AdaptConfig:
        values = {
            "prior": str(self.keypoints),
            "shots": self.path / "shots.npz",
            "steps": 3,
            "batch_size": 16,
            "reweight_every": 2,
            "weighting": {"entropy_weight": 0.5},
        }
        return AdaptConfig.model_validate({**values, "device": "cpu", **changes})

    def adapt_image(self, **changes: Any) -> AdaptConfig:
        own = {"prior": str(self.images), "regressor": str(self.beta)}
        return self.adapt(**{**own, **changes})

    def baseline(self, kind: str, **changes: Any) -> BaselineConfig:
        values = {
            "prior": str(self.keypoints),
            "shots": self.path / "shots.npz",
            "adapter": {"kind": kind},
            "steps": 4,
            "batch_size": 8,
            "check_every": 2,
        }
        return BaselineConfig.model_validate({**values, "device": "cpu", **changes})

    def sample(self, **changes: Any) -> SampleConfig:
        values = {"model": str(self.keypoints), "n": 50, "size": 64}
        return SampleConfig.model_validate({**values, "device": "cpu", **changes})

    def detector(self, **changes: Any) -> DetectorConfig:
        labels = self.frames / "mannequin.coco.json"
        values = {
            "frames": {"path": self.frames, "crop": "boxes", "boxes": labels},
            "poses": labels,
            "shots": self.path / "frames-shots.npz",
            "validation": labels,
            "size": 32,
            "width": 4,
            "steps": 5,
            "batch_size": 2,
            "heatmaps": {"puppets": 6, "unlabelled_from": 0.5},
        }
        return DetectorConfig.model_validate({**values, "device": "cpu", **changes})

    def keypoint_gan(self, gan: dict[str, Any], **changes: Any) -> DetectorConfig:
        method = {"method": "keypoint-gan", "gan": {"reader_steps": 1, **gan}}
        return self.detector(**method, **changes)

    def translator(self, **changes: Any) -> TranslatorConfig:
        boxes = self.frames / "mannequin.coco.json"
        values = {
            "frames": {"path": self.frames, "crop": "boxes", "boxes": boxes},
            "poses": boxes,
            "size": 32,
            "width": 4,
            "blocks": 1,
            "steps": 4,
            "batch_size": 2,
        }
        return TranslatorConfig.model_validate({**values, "device": "cpu", **changes})

    @property
    def frames(self) -> Path:
        """Sixteen frames of the mannequin, in eight clips."""
        return self.path / "frames"

    @property
    def keypoints(self) -> Path:
        return self.path / "keypoint-prior"

    @property
    def images(self) -> Path:
        return self.path / "image-prior"

    @property
    def beta(self) -> Path:
        return self.path / "regressor"

    @property
    def large_beta(self) -> Path:
        """A regressor of the canvas that keypoint priors are drawn on."""
        return self.path / "large-regressor"

    @property
    def adapted(self) -> Path:
        return self.path / "adapted"


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, puppet, puppet_poses, play: Callable[..., list]) -> Workshop:
    """A keypoint prior, an image prior that it taught, a regressor and an adapted model."""
    path = tmp_path_factory.mktemp("workshop")
    shop = Workshop(path)
    (path / "puppet.yaml").write_text(yaml.safe_dump(puppet.to_dict()), encoding="utf-8")
    write_poses(puppet_poses(80), path / "source.npz")
    write_poses(puppet_poses(8, seed=1, reach=1.4), path / "shots.npz")
    frames = mannequin_frames(clips_per_action=1, frames_per_clip=2, image_size=64)
    frames.write(shop.frames)
    write_poses(frames.poses[::4], path / "frames-shots.npz")
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        for command, config, folder in (
            ("train-prior", shop.prior(steps=60), shop.keypoints),
            ("train-prior", shop.taught(steps=12, teacher_steps=12), shop.images),
            ("train-regressor", shop.regressor(steps=12), shop.beta),
            ("train-regressor", shop.regressor(steps=1, size=64), shop.large_beta),
            ("adapt", shop.adapt(steps=10), shop.adapted),
        ):
            events = play(command, config, folder)
            assert isinstance(events[-1], JobFinished), events[-1]
            load_checkpoint(folder)
    return shop
