"""Adapters that tau is compared with: what each of them has to keep to."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
import torch

from flexpose.checkpoint import load_checkpoint
from flexpose.configs.baselines import AdapterConfig, BaselineConfig, LoraConfig
from flexpose.errors import CheckpointError, ConfigError
from flexpose.events import JobFailed, JobFinished
from flexpose.geometry import normalised
from flexpose.io import read_poses
from flexpose.losses import energy_distance
from flexpose.models.prior import load_prior
from flexpose.models.stylegan import ImageDiscriminator
from flexpose.sampling import PoseModel, PoseSampler, generate, keypoints, load_model
from flexpose.training.adapters.adversarial import KernelScale, freeze_early, likeness
from flexpose.training.adapters.base import adapters, merged
from flexpose.training.adapters.guided import LowRank, OnCodes, Scaled
from flexpose.training.baseline import BaselineTask
from flexpose.training.inversion import invert, latent_mixup, poses_at

KINDS = sorted(adapters())
CODES = {"kind": "lora", "where": "codes", "rank": 2}


def kinds_of_configs():
    union, _ = get_args(AdapterConfig)
    return {member.model_fields["kind"].default for member in get_args(union)}


def test_every_config_has_its_adapter():
    assert kinds_of_configs() == set(KINDS)


@pytest.fixture(params=["keypoints", "images"])
def prior(request, workshop):
    return load_prior(getattr(workshop, request.param), regressor=workshop.beta)


def task_of(prior, workshop, adapter, **changes):
    values = {"shots": workshop.path / "shots.npz", "num_mixups": 20, "steps": 3, "batch_size": 8}
    own = adapter if isinstance(adapter, dict) else {"kind": adapter}
    config = BaselineConfig.model_validate(
        {"prior": str(prior.path), "adapter": own, **values, **changes}
    )
    shots = torch.from_numpy(normalised(read_poses(config.shots).keypoints))
    return BaselineTask(config, prior, shots, torch.device("cpu"))


def made(generator, z):
    output = generate(generator, z)
    return output.keypoints if output.images is None else output.images


every_kind = pytest.mark.parametrize("adapter", [*KINDS, CODES], ids=[*KINDS, "lora on codes"])


@every_kind
def test_an_adapter_starts_as_the_prior_and_changes_only_what_it_learns(adapter, prior, workshop):
    task = task_of(prior, workshop, adapter)
    z = torch.randn(6, prior.generator.z_dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made(task.generator, z), made(prior.generator, z))
    before = {name: p.detach().clone() for name, p in task.generator.named_parameters()}
    source = copy.deepcopy(prior.generator.state_dict())
    for step in (1, 2):
        losses = task.step(step)
        assert all(bool(loss.isfinite()) for loss in losses.values())
    learned = {name for name, p in task.generator.named_parameters() if p.requires_grad}
    assert learned
    for name, now in task.generator.named_parameters():
        if name not in learned:
            assert torch.equal(now, before[name]), name
    assert any(not torch.equal(p, before[n]) for n, p in task.generator.named_parameters())
    assert all(torch.equal(v, source[k]) for k, v in prior.generator.state_dict().items())


@every_kind
def test_merged_weights_make_the_same_poses(adapter, prior, workshop):
    task = task_of(prior, workshop, adapter)
    for step in (1, 2):
        task.step(step)
    z = torch.randn(5, prior.generator.z_dim, generator=torch.Generator().manual_seed(1))
    attached = made(task.generator, z)
    torch.testing.assert_close(
        made(merged(task.generator, prior.generator), z), attached, atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(made(task.generator, z), attached)


@pytest.mark.parametrize("adapter", ["lora", CODES, {"kind": "lora", "matching": "ot"}], ids=str)
def test_guided_adapters_come_nearer_to_the_shots(adapter, workshop):
    prior = load_prior(workshop.keypoints)
    task = task_of(prior, workshop, adapter, steps=60, check_every=20)
    shots = task.shots.flatten(1)

    def distance(model):
        drawn = PoseSampler(model).draw(200, torch.Generator().manual_seed(3))
        return float(energy_distance(drawn.flatten(1), shots))

    before = distance(PoseModel(prior))
    for step in range(1, 61):
        task.step(step)
    assert distance(task.model()) < 0.8 * before


def test_an_adapted_generator_is_sampled_from_its_checkpoint(workshop, play, tmp_path):
    config = BaselineConfig(
        prior=str(workshop.keypoints), shots=workshop.path / "shots.npz", steps=4, batch_size=8
    )
    assert isinstance(play("adapt-baseline", config, tmp_path / "run")[-1], JobFinished)
    model = load_model(tmp_path / "run")
    assert model.shots is not None
    plain = load_model(workshop.keypoints)
    drawn = [PoseSampler(m).draw(10, torch.Generator().manual_seed(0)) for m in (model, plain)]
    assert not torch.equal(*drawn)
    play("sample", workshop.sample(model=str(tmp_path / "run"), mixup_share=0.2), tmp_path / "s")


def test_a_layer_that_is_not_there_is_named(workshop):
    prior = load_prior(workshop.keypoints)
    with pytest.raises(ConfigError, match=r"Layer 9 .* layers 1 to 3"):
        task_of(prior, workshop, {"kind": "lora", "layers": [9]})


def test_a_prior_without_discriminator_is_refused(workshop, play, tmp_path):
    from flexpose.checkpoint import load_checkpoint, save_checkpoint

    found = load_checkpoint(workshop.keypoints, kind="prior")
    bare = {k: v for k, v in found.tensors.items() if not k.startswith("discriminator.")}
    save_checkpoint(tmp_path / "bare", tensors=bare, meta=found.meta)
    config = BaselineConfig(prior=str(tmp_path / "bare"), shots=workshop.path / "shots.npz")
    events = play("adapt-baseline", config, tmp_path / "run")
    assert isinstance(events[-1], JobFailed)
    assert isinstance(events[-1].error, CheckpointError)
    assert "holds no discriminator" in str(events[-1].error)


def test_shots_are_found_again_in_a_prior_and_mixed_between_their_codes(workshop):
    prior = load_prior(workshop.keypoints)
    random = torch.Generator().manual_seed(0)
    z = torch.randn(4, prior.generator.z_dim, generator=random)
    shots = keypoints(prior.generator, prior, z)
    codes = invert(prior, shots, torch.Generator().manual_seed(1))
    assert codes.shape == (4, 3, 8)
    found = poses_at(prior, codes.unbind(1))
    assert (found - shots).norm(dim=2).mean() < 0.02
    mixed = latent_mixup(prior, codes, 50, torch.Generator().manual_seed(2))
    assert mixed.shape == (50, *shots.shape[1:])
    assert mixed.std(dim=0).mean() > 0
    again = latent_mixup(prior, codes, 50, torch.Generator().manual_seed(2))
    assert torch.equal(mixed, again)


# ---------------------------------------------------------------- the pieces, by hand


def test_low_rank_by_hand():
    change = LowRank(torch.Size((2, 3)), 1, scale=0.5)
    with torch.no_grad():
        change.down.copy_(torch.tensor([[1.0, 0.0, 2.0]]))
        change.up.copy_(torch.tensor([[2.0], [4.0]]))
    expected = torch.tensor([[1.0, 0.0, 2.0], [2.0, 0.0, 4.0]])
    torch.testing.assert_close(change(torch.zeros(2, 3)), expected)


def test_on_codes_is_a_matrix_on_weight_and_bias_alike():
    change = OnCodes(2, 1, 1.0)
    with torch.no_grad():
        change.change.up.copy_(torch.tensor([[1.0], [0.0]]))
        change.change.down.copy_(torch.tensor([[0.0, 3.0]]))
    matrix = torch.tensor([[1.0, 3.0], [0.0, 1.0]])
    weight, bias = torch.randn(2, 4), torch.randn(2)
    torch.testing.assert_close(change(weight), matrix @ weight)
    torch.testing.assert_close(change(bias), matrix @ bias)


def test_scales_and_kernels_by_hand():
    scale, shift = (torch.nn.Parameter(torch.tensor(v)) for v in ([2.0, 3.0], [1.0, -1.0]))
    weight = torch.ones(2, 2)
    torch.testing.assert_close(Scaled(scale, None)(weight), torch.tensor([[2.0, 2], [3, 3]]))
    torch.testing.assert_close(Scaled(scale, shift)(torch.ones(2)), torch.tensor([3.0, 2.0]))
    kernels = KernelScale(torch.Size((2, 3, 3, 3)))
    assert kernels.scale.shape == (2, 3, 1, 1)
    assert KernelScale(torch.Size((2, 3))).scale.shape == (2, 3)


def test_likeness_is_a_distribution_over_the_others():
    poses = torch.randn(5, 4, 2)
    shares = likeness(poses).exp()
    assert shares.shape == (5, 4)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(5))
    torch.testing.assert_close(likeness(poses * 3), likeness(poses))


def test_the_discriminator_goes_on_under_the_penalty_it_was_trained_with(workshop):
    prior = load_prior(workshop.keypoints)
    trained_with = load_checkpoint(prior.path).meta.config["r1_gamma"]
    assert task_of(prior, workshop, "finetune").adapter.gamma == trained_with
    own = {"kind": "finetune", "r1_gamma": 7.5}
    assert task_of(prior, workshop, own).adapter.gamma == 7.5


def test_a_share_of_a_discriminator_is_frozen_from_its_input_on():
    judge = ImageDiscriminator(32, 3, 256, 8)  # from_image, 3 blocks, conv, fc, head
    freeze_early(judge, 0.5)
    frozen = {n.split(".")[0] for n, p in judge.named_parameters() if not p.requires_grad}
    assert frozen == {"from_image", "blocks"}
    assert not judge.blocks[2].conv.weight.requires_grad
    assert judge.conv.weight.requires_grad


def test_defaults_are_those_that_the_papers_give():
    assert LoraConfig().alpha / LoraConfig().rank == 1
