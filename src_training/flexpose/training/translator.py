"""Job ``train-translator``: skeleton images become pictures, and pictures skeleton images.

CycleGAN (Zhu 2017): two generators and two judges learn from frames and from poses that belong to
none of them. Each generator must deceive the judge of its kind (Eq. 1, least squares), and both
together must give back what they were given (Eq. 2). Ours: another frame tells the first generator
what a picture shall look like; where frames have labels, pairs of crop and skeleton image are
learned as well; and the moving average of the first generator is used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexpose.checkpoint import CheckpointMeta
from flexpose.compute import generator_for, prepare, resolve_device
from flexpose.configs.translator import TranslatorConfig
from flexpose.errors import CheckpointError, FlexPoseError
from flexpose.events import JobCancelled, JobEvent, PhaseChanged, WarningRaised
from flexpose.geometry import normalised
from flexpose.jobs import CancelToken
from flexpose.models.features import NormalisedDistance, feature_extractor
from flexpose.models.patches import PatchDiscriminator, initialised, lsgan
from flexpose.models.prior import load_weights, with_prefix
from flexpose.models.translator import inside, picture_network, skeleton_network
from flexpose.rendering.soft import Renderer
from flexpose.rendering.style import DrawingStyle
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton
from flexpose.training.clips import (
    Clips,
    Labels,
    backgrounds,
    load_clips,
    load_labels,
    placed,
    placements,
    signed,
)
from flexpose.training.data import file_or_model
from flexpose.training.loop import Preview, Schedule, run_task
from flexpose.training.pictures import sheet, to_uint8
from flexpose.training.pool import ImagePool

_INIT, _SHOWN, _POSES = range(1 << 40, (1 << 40) + 3)  # random streams beside the steps
_COLUMNS = 6  # of a preview
_KEPT = 64  # frames that are kept with the weights, for places and looks
_KINDS = ("picture", "skeleton")


def run(config: TranslatorConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Train a translator.

    Raises
    ------
    FlexPoseError : frames, poses or labels cannot be read, are too few, or do not fit each other.
    """
    device = resolve_device(config.device)
    prepare(device, config.threads)
    yield PhaseChanged("reading poses")
    random = generator_for(config.seed, _POSES)
    poses = file_or_model(config.poses, config.source, config.num_poses, random, device)
    complete = poses[poses.complete]
    if len(complete) < 2:
        raise FlexPoseError(
            f"{config.poses or config.source}: {len(complete)} of {len(poses)} poses are complete, "
            "expected at least 2, better thousands."
        )
    yield PhaseChanged("reading frames")
    clips = load_clips(config.frames, config.size, lambda: cancel.cancelled)
    if clips is None:
        yield JobCancelled(0)
        return
    rooms = None
    if config.looks:
        yield PhaseChanged("taking people out of the frames")
        every = torch.arange(len(clips.names))
        places = backgrounds(config.frames, clips, every, lambda: cancel.cancelled)
        rooms = torch.from_numpy(places).permute(0, 3, 1, 2)
    if cancel.cancelled:
        yield JobCancelled(0)
        return
    pairs = None
    if config.labels is not None:
        labels = load_labels(config.labels, clips, poses.skeleton)
        pairs = _complete(labels, config.labels)
        if len(pairs.rows) < len(labels.rows):
            left = len(labels.rows) - len(pairs.rows)
            yield WarningRaised(
                "labels", f"{left} of {len(labels.rows)} labels lack joints and are left out."
            )
    unpaired = torch.from_numpy(normalised(complete.keypoints))
    task = TranslatorTask(config, poses.skeleton, clips, rooms, unpaired, pairs, device)
    schedule = Schedule(
        config.steps, config.preview_every, checkpoint_every=config.checkpoint_every
    )
    yield from run_task(task, schedule, run, cancel)


def _complete(labels: Labels, path: Path) -> Labels:
    known = labels.keypoints.isfinite().all(dim=2).all(dim=1)
    if not known.any():
        raise FlexPoseError(
            f"{path}: none of the {len(known)} labels has all joints, expected complete ones.",
            "Label every joint, hidden ones where you guess them, or train without labels.",
        )
    return Labels(labels.rows[known], labels.keypoints[known])


class TranslatorTask:
    """Two generators, two judges, their optimisers, and what they learn from.

    Parameters
    ----------
    rooms : uint8 (N, 3, size, size), the crops without the people; None when none are looked at
    unpaired : float32 (P, J, 2), box-normalised
    pairs : completely labelled crops, or None
    """

    name = "train-translator"

    def __init__(
        self,
        config: TranslatorConfig,
        skeleton: Skeleton,
        clips: Clips,
        rooms: Tensor | None,
        unpaired: Tensor,
        pairs: Labels | None,
        device: torch.device,
    ) -> None:
        self.config, self.skeleton, self.clips, self.device = config, skeleton, clips, device
        self.rooms, self.unpaired, self.pairs = rooms, unpaired, pairs
        self.style = DrawingStyle.for_size(config.size, config.channels)
        self.render = Renderer(skeleton, self.style, device)
        self.places = placements(pairs) if pairs is not None else torch.zeros(0, 3)
        self.rows = pairs.rows if pairs is not None else torch.arange(len(clips.names))
        random, c, w = generator_for(config.seed, _INIT), config.channels, config.width
        networks = {
            "picture": picture_network(self.style, w, config.blocks, looks=config.looks),
            "skeleton": skeleton_network(self.style, w, config.blocks),
            "picture_judge": PatchDiscriminator(3, w, scales=1),
            "skeleton_judge": PatchDiscriminator(c, w, scales=1),
        }
        self.nets = nn.ModuleDict(
            {name: initialised(network, random) for name, network in networks.items()}
        ).to(device)
        self.judges = nn.ModuleList([self.nets[f"{kind}_judge"] for kind in _KINDS])
        self.picture_ema = copy.deepcopy(self.nets["picture"]).requires_grad_(False)
        self.optimizers = {
            name: torch.optim.Adam(
                [p for part in parts for p in self.nets[part].parameters()],
                config.lr,
                (0.5, 0.999),
            )
            for name, parts in (
                ("generators", _KINDS),
                ("judges", ("picture_judge", "skeleton_judge")),
            )
        }
        self.perceptual = NormalisedDistance()
        self.gamma = feature_extractor(config.features, None, config.feature_weights, device)
        self.pools = {kind: ImagePool() for kind in _KINDS}

    @property
    def lr(self) -> float:
        return float(self.optimizers["generators"].param_groups[0]["lr"])

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        random = generator_for(self.config.seed, step)
        share = min(1.0, 2 * (1 - (step - 1) / self.config.steps))
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.lr * share
        count = self.config.batch_size
        rows = torch.randint(len(self.clips.names), (count,), generator=random)
        skeletons, looks = self._wanted(count, random)
        real = {"picture": self._pictures(rows), "skeleton": skeletons}
        made, losses = self._translate(real, looks, rows, random)
        losses |= self._judge(real, made, random)
        self._average(step)
        return losses

    def _translate(
        self, real: Mapping[str, Tensor], looks: Tensor, rows: Tensor, random: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Both generators: deceive, come back, leave alone what is right, and fit the pairs.

        ``looks`` are those of the skeletons, ``rows`` those of the pictures.
        """
        config, nets = self.config, self.nets
        made = {
            "picture": nets["picture"](real["skeleton"], looks),
            "skeleton": nets["skeleton"](real["picture"]),
        }
        own = self._looks(self.clips.neighbours(rows, random), rows)
        self.judges.requires_grad_(False)
        losses = {kind: lsgan(nets[f"{kind}_judge"](made[kind]), 1.0) for kind in _KINDS}
        self.judges.requires_grad_(True)
        total = losses["picture"] + losses["skeleton"]
        if config.cycle_weight:
            noise = torch.randn(made["skeleton"].shape, generator=random).to(self.device)
            faint_lost = made["skeleton"] + config.cycle_noise * noise
            back = {
                "picture": nets["picture"](faint_lost, own),
                "skeleton": nets["skeleton"](made["picture"]),
            }
            losses["back"] = _distance(back, real)
            total = total + config.cycle_weight * losses["back"]
        if config.channels == 3 and config.identity_weight:
            same = {
                "picture": nets["picture"](real["picture"], own),
                "skeleton": nets["skeleton"](real["skeleton"]),
            }
            losses["same"] = _distance(same, real)
            total = total + config.cycle_weight * config.identity_weight * losses["same"]
        if self.pairs is not None:
            pixels, features = self._pairs_losses(self.pairs, random)
            losses |= {"pairs": pixels, "features": features}
            total = total + config.paired_weight * pixels + config.perceptual_weight * features
        self._descend("generators", total)
        return (
            {kind: images.detach() for kind, images in made.items()},
            {name: loss.detach() for name, loss in losses.items()},
        )

    def _pairs_losses(self, pairs: Labels, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """How far crops and their skeleton images are from what is made of each other."""
        at = torch.randint(len(pairs.rows), (self.config.batch_size,), generator=random)
        rows = pairs.rows[at]
        pictures = self._pictures(rows)
        skeletons = self.render(pairs.keypoints[at].to(self.device))
        looks = self._looks(self.clips.neighbours(rows, random), rows)
        real = {"picture": pictures, "skeleton": skeletons}
        made = {
            "picture": self.nets["picture"](skeletons, looks),
            "skeleton": self.nets["skeleton"](pictures),
        }
        features = self.perceptual(self.gamma(made["picture"]), self.gamma(pictures))
        return _distance(made, real), features

    def _judge(
        self, real: Mapping[str, Tensor], made: Mapping[str, Tensor], random: torch.Generator
    ) -> dict[str, Tensor]:
        losses = {}
        for kind in _KINDS:
            judge, seen = self.nets[f"{kind}_judge"], self.pools[kind].swapped(made[kind], random)
            losses[f"{kind}_judge"] = (lsgan(judge(real[kind]), 1.0) + lsgan(judge(seen), 0.0)) / 2
        self._descend("judges", losses["picture_judge"] + losses["skeleton_judge"])
        return {name: loss.detach() for name, loss in losses.items()}

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Follow the weights slowly, in the first steps faster."""
        keep = min(self.config.ema, step / (step + 10))
        now = self.nets["picture"].parameters()
        for kept, new in zip(self.picture_ema.parameters(), now, strict=True):
            kept.lerp_(new, 1 - keep)

    def _wanted(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Skeleton images of unpaired poses, each in the place of a frame's person, and looks."""
        poses = self.unpaired[torch.randint(len(self.unpaired), (count,), generator=random)]
        at = torch.randint(len(self.rows), (count,), generator=random)
        if len(self.places):
            poses = placed(poses, self.places[at])
        rows = self.rows[at]
        return self.render(inside(poses).to(self.device)), self._looks(rows, rows)

    def _pictures(self, rows: Tensor) -> Tensor:
        return self.clips.batch(rows).to(self.device)

    def _looks(self, people: Tensor, places: Tensor) -> Tensor:
        """What the generator is shown of frames: the people of some, the places of others."""
        return signed(self._frames(people, places)).to(self.device)

    def _frames(self, people: Tensor, places: Tensor) -> Tensor:
        """Crops of ``people`` and, without them, of ``places``: uint8 (n, 6, size, size)."""
        if self.rooms is None:
            return self.clips.images.new_zeros((0, 6, *self.clips.images.shape[2:]))
        return torch.cat([self.clips.images[people], self.rooms[places]], dim=1)

    # ------------------------------------------------------------ what comes of it

    def evaluate(self) -> Mapping[str, float]:
        """Nothing: how good a picture is, only eyes can tell."""
        return {}

    @torch.no_grad()
    def preview(self) -> Preview:
        """A sheet: skeleton images, above what shall lend its looks, above the pictures."""
        skeletons, looks = self._wanted(_COLUMNS, generator_for(self.config.seed, _SHOWN))
        pictures = self.picture_ema(skeletons, looks)
        parts = (skeletons, looks[:, :3], pictures)
        return Preview(sheet([to_uint8(part) for part in parts if len(part)])[None])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = with_prefix("", self.nets) | with_prefix("picture_ema.", self.picture_ema)
        kept = torch.linspace(0, len(self.rows) - 1, min(_KEPT, len(self.rows))).round().long()
        tensors["places"] = self.places[kept] if len(self.places) else self.places
        tensors["looks"] = self._frames(self.rows[kept], self.rows[kept])
        return tensors, {
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "pools": {kind: pool.images for kind, pool in self.pools.items()},
            "means": self.perceptual.means,
        }

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        kept = ("picture_ema.", "places", "looks")
        own = {k: v for k, v in tensors.items() if not k.startswith(kept)}
        load_weights(self.nets, own, "", "checkpoint")
        load_weights(self.picture_ema, tensors, "picture_ema.", "checkpoint")
        if "optimizers" not in train_state:
            raise CheckpointError("The checkpoint holds no optimiser state to go on from.")
        for name, state in train_state["optimizers"].items():
            self.optimizers[name].load_state_dict(state)
        for kind, images in train_state["pools"].items():
            self.pools[kind].images = images
        self.perceptual.means = train_state["means"]

    def meta(self) -> CheckpointMeta:
        return CheckpointMeta(
            kind="translator",
            skeleton=self.skeleton.to_dict(),
            style=self.style.to_dict(),
            config=self.config.model_dump(mode="json"),
            licence="as the frames and poses that it learned from",
        )


def _distance(made: Mapping[str, Tensor], real: Mapping[str, Tensor]) -> Tensor:
    """Mean distance of pixels, summed over both kinds of images."""
    return F.l1_loss(made["picture"], real["picture"]) + F.l1_loss(
        made["skeleton"], real["skeleton"]
    )
