"""UDAPE (Kim 2022): a mean teacher whose maps are compared where they mean the same pixel.

First a style network learns to give pictures of one domain the look of the other (AdaIN), then the
student learns the labelled source, half of it in the target's look. After that both see each target
picture under an affine map of their own; both maps are taken back, the teacher's peaks become
Gaussians, and the surer half of the joints is taught. Where the teacher is very sure, a joint is
covered in what the student sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from flexpose.compute import generator_for
from flexpose.configs.uda import UdaConfig
from flexpose.geometry import unit_to_canvas
from flexpose.models.heatmaps import initialised
from flexpose.models.maps import cells_to_unit, gaussians, peak_cells
from flexpose.models.prior import load_weights, with_prefix
from flexpose.models.style import StyleNet
from flexpose.skeleton import Skeleton
from flexpose.training.augment import mapped, mirrored_at_random, tinted, unwarped, warped
from flexpose.training.clips import Labels
from flexpose.training.uda.labelled import Domain, LabelledTask

_INIT = (1 << 40) + 4  # a random stream beside the steps
_STYLE_DECAY = 5e-5  # of the style network's learning rate, a step


class UdapeTask(LabelledTask):
    """Student, teacher and style network."""

    def __init__(
        self,
        config: UdaConfig,
        skeleton: Skeleton,
        source: Domain,
        target: Domain,
        held_out: Labels | None,
        device: torch.device,
    ) -> None:
        super().__init__(
            config, skeleton, source, target, held_out, device, loss="mse", averaged=True
        )
        own = config.udape
        self.style: StyleNet | None = None
        if own.style_steps:
            self.style = StyleNet(own.style_encoder, own.style_encoder_weights).to(device)
            random = generator_for(config.seed, _INIT)
            initialised(self.style.decoder, random)
            if own.style_encoder == "own":
                initialised(self.style.encoder, random)
            learns = [p for p in self.style.parameters() if p.requires_grad]
            self.optimizers["style"] = torch.optim.Adam(learns, own.style_lr)

    def new_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), self.config.lr)

    # ------------------------------------------------------------ a step

    def step(self, step: int) -> Mapping[str, Tensor]:
        config, random = self.config, generator_for(self.config.seed, step)
        styling = config.udape.style_steps
        if step <= styling:
            return self._learn_style(step, random)
        self.main = "labelled"
        share = (step - styling) / (config.steps - styling)
        images, keypoints = self.labelled_batch(share, random)
        target = self.target_batch(random)
        if step <= styling + config.pretrain_steps:
            loss = self.learn(self._restyled(images, target, random), keypoints, share)
            self.follow(0.0)
            return {"labelled": loss}
        return self._adapt(images, keypoints, target, share, random)

    def _learn_style(self, step: int, random: torch.Generator) -> Mapping[str, Tensor]:
        """The encoder if it is ours, then the decoder."""
        assert self.style is not None
        self.main, own = "style", self.config.udape
        pictures, _ = self.labelled_batch(1.0, random)  # whatever poses: looks are learned
        others = self.target_batch(random)
        factor = 1 / (1 + _STYLE_DECAY * step)
        if own.style_encoder == "own" and step <= own.style_steps // 2:
            again = self.style.again(torch.cat([pictures, others]))
            self.descend(again, factor, "style")
            return {"again": again.detach()}
        if own.style_encoder == "own":
            self.style.encoder.requires_grad_(False)
        if torch.rand((), generator=random) < 0.5:
            pictures, others = others, pictures
        content, look = self.style.losses(pictures, others)
        self.descend(content + own.style_weight * look, factor, "style")
        return {"content": content.detach(), "style": look.detach()}

    def _restyled(self, images: Tensor, others: Tensor, random: torch.Generator) -> Tensor:
        """Pictures, now and then with some of the look of others."""
        now, share = torch.rand(2, generator=random).tolist()
        if self.style is None or now >= self.config.udape.restyle:
            return images
        return self.style.restyled(images, others, share)

    def _adapt(
        self,
        images: Tensor,
        keypoints: Tensor,
        target: Tensor,
        share: float,
        random: torch.Generator,
    ) -> Mapping[str, Tensor]:
        own = self.config.udape
        if self.config.augment.mirror:
            none = target.new_zeros(len(target), self.skeleton.num_joints, 2)
            target, _ = mirrored_at_random(target, none, self.skeleton.flip_index, random)
        taught = self._taught(target, images, random)
        seen, view = self._view(target, random)
        seen = covered_joints(seen, taught, view, self.net.stride, self.config, random)
        styled = self._restyled(images, target, random)
        labelled = self.loss(self.net(styled), keypoints)
        found = unwarped(self.net(seen), view, self.config.size)
        consistency = consistency_loss(found, taught, own.mask_ratio)
        self.descend(labelled + own.consistency_weight * consistency, self.drop(share), "labelled")
        self.follow(own.ema, "average" if own.teacher_buffers == "average" else "own")
        return {
            "labelled": labelled.detach(),
            "consistency": consistency.detach(),
            "peak": taught.amax(dim=(2, 3)).mean(),
        }

    def _view(self, images: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures under random affine maps, tinted; and the maps."""
        view = self.random_view(random)
        seen, _ = warped(images, images.new_zeros(len(images), 0, 2), view)
        return tinted(seen, random), view

    @torch.no_grad()
    def _taught(self, target: Tensor, source: Tensor, random: torch.Generator) -> Tensor:
        """What the teacher finds in plain target pictures by way of a view: maps (n, J, h, w)."""
        seen, view = self._view(target, random)
        seen = self._restyled(seen, source, random)
        self.teacher.train(self.config.udape.teacher_buffers == "upstream")
        return unwarped(self.teacher(seen), view, self.config.size)

    # ------------------------------------------------------------ what is saved

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, train_state = super().state()
        if self.style is not None:
            train_state["style_network"] = with_prefix("", self.style)
        return tensors, train_state

    def load_state(self, tensors: Mapping[str, Tensor], train_state: Mapping[str, Any]) -> None:
        super().load_state(tensors, train_state)
        if self.style is not None:
            load_weights(self.style, train_state["style_network"], "", "checkpoint")


def consistency_loss(found: Tensor, taught: Tensor, mask_ratio: float) -> Tensor:
    """Mean squared difference of maps (n, J, h, w) and Gaussians about the teacher's peaks.

    Joints whose peak is among the lowest ``mask_ratio`` of the batch count as no difference.
    """
    peaks = taught.amax(dim=(2, 3))
    lowest = int(mask_ratio * peaks.numel())
    sure = peaks > (peaks.flatten().kthvalue(lowest).values if lowest else -torch.inf)
    wanted = gaussians(peak_cells(taught), (taught.shape[3], taught.shape[2]))
    return ((found - wanted).square() * sure[..., None, None]).mean()


def covered_joints(
    seen: Tensor,
    taught: Tensor,
    view: Tensor,
    stride: int,
    config: UdaConfig,
    random: torch.Generator,
) -> Tensor:
    """Views (n, 3, s, s) in some of which a patch of the same picture hides a sure joint.

    Parameters
    ----------
    taught : maps (n, J, h, w) of the plain pictures, whose peaks say where and how surely
    view : affine maps (n, 2, 3) from the plain pictures to the views
    """
    own, size = config.udape, seen.shape[3]
    cells = (taught.shape[3], taught.shape[2])
    places = mapped(cells_to_unit(peak_cells(taught), cells, stride), view)
    pixels = torch.from_numpy(unit_to_canvas(places.cpu().numpy(), size)).round().long()
    sure = (taught.amax(dim=(2, 3)) >= own.occlude_from).cpu()
    half = max(round(own.occlude_size * size), 1)
    chosen = torch.rand(len(seen), generator=random) < own.occlude_rate
    seen = seen.clone()
    for row in torch.nonzero(chosen & sure.any(dim=1))[:, 0].tolist():
        joints = torch.nonzero(sure[row])[:, 0]
        joint = joints[torch.randint(len(joints), (1,), generator=random)]
        x, y = pixels[row, int(joint)].tolist()
        left, top = max(x - half, 0), max(y - half, 0)
        right, bottom = min(x + half, size), min(y + half, size)
        if left >= right or top >= bottom:  # the view does not show it
            continue
        width, height = right - left, bottom - top
        from_x = int(torch.randint(size - width + 1, (1,), generator=random))
        from_y = int(torch.randint(size - height + 1, (1,), generator=random))
        patch = seen[row, :, from_y : from_y + height, from_x : from_x + width].clone()
        seen[row, :, top:bottom, left:right] = patch
    return seen
