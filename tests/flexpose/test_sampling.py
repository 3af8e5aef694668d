"""Drawing poses: repeatable, counted, filtered, and never without end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flexpose import sampling
from flexpose.checkpoint import CheckpointMeta
from flexpose.errors import CheckpointError, FlexPoseError
from flexpose.geometry import normalised
from flexpose.kinematics import KinematicTransfer
from flexpose.models.keypoint_generator import KeypointGenerator, box_normalised
from flexpose.models.prior import Prior
from flexpose.models.regressor import PoseRegressor
from flexpose.models.stylegan import StyleGenerator
from flexpose.models.transfer import TransferFunction
from flexpose.rendering.style import DrawingStyle
from flexpose.sampling import PoseModel, PoseSampler, chosen_layers, keypoints
from flexpose.weighting import EnergyWeights, fit_energy_weights


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def prior(puppet):
    torch.manual_seed(0)
    generator = KeypointGenerator(5, z_dim=6, w_dim=8, width=16, depth=3, mapping_depth=2)
    meta = CheckpointMeta(kind="prior", skeleton=puppet.to_dict())
    return Prior(generator.eval(), puppet, DrawingStyle(32), meta, Path("prior"), None)


@pytest.fixture
def image_prior(puppet):
    torch.manual_seed(0)
    generator = StyleGenerator(32, 3, "adain", 6, 8, 2, channel_base=256, channel_max=8)
    meta = CheckpointMeta(kind="prior", skeleton=puppet.to_dict())
    beta = PoseRegressor(5, 3, width=4)
    return Prior(generator.eval(), puppet, DrawingStyle(32), meta, Path("images"), beta.eval())


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setitem(sampling._CHUNK, "image", 16)
    monkeypatch.setitem(sampling._CHUNK, "keypoints", 64)


def test_any_number_is_drawn_and_a_seed_repeats_it(prior):
    model = PoseModel(prior)
    for count in (1, 64, 100):
        poses = PoseSampler(model).draw(count, seeded())
        assert poses.shape == (count, 5, 2)
    assert torch.equal(poses, PoseSampler(model).draw(100, seeded()))
    assert torch.equal(poses[:30], PoseSampler(model).draw(30, seeded()))
    assert not torch.equal(poses, PoseSampler(model).draw(100, seeded(1)))
    assert len(poses.unique(dim=0)) == 100


def test_a_new_tau_changes_nothing_and_a_fitted_one_does(prior):
    transfer = TransferFunction(prior.generator.layers, [3])
    plain = PoseSampler(PoseModel(prior)).draw(20, seeded())
    assert torch.equal(plain, PoseSampler(PoseModel(prior, transfer)).draw(20, seeded()))
    with torch.no_grad():
        transfer.U["3"].normal_(generator=seeded())
    assert not torch.equal(plain, PoseSampler(PoseModel(prior, transfer)).draw(20, seeded()))


def test_kinematics_act_on_what_is_generated(prior, puppet):
    kinematics = KinematicTransfer(puppet)
    with torch.no_grad():
        kinematics.log_ratio.fill_(0.2)
        kinematics.log_ratio[0] = -0.5
    plain = PoseSampler(PoseModel(prior)).draw(20, seeded())
    bent = PoseSampler(PoseModel(prior, kinematics=kinematics)).draw(20, seeded())
    assert torch.allclose(bent, kinematics(plain), atol=1e-6)


def test_weights_choose_among_fresh_samples(prior):
    plain = PoseSampler(PoseModel(prior)).draw(640, seeded())
    rule = fit_energy_weights(plain[:200].flatten(1), plain[:1].flatten(1), 0.3)
    sampler = PoseSampler(PoseModel(prior, weights=rule))
    kept = sampler.draw(100, seeded())
    counts = sampler.counts
    assert counts.made == counts.kept + counts.unlikely + counts.inconsistent
    assert counts.unlikely > 0
    target = plain[0].flatten()
    near, far = ((p.flatten(1) - target).norm(dim=1).mean() for p in (kept, plain))
    assert near < far
    known = {tuple(p.flatten().tolist()) for p in plain}
    assert not known >= {tuple(p.flatten().tolist()) for p in kept}  # not taken from the pool


def test_a_share_of_what_is_drawn_lies_between_two_shots(prior):
    shots = torch.from_numpy(normalised(torch.rand(2, 5, 2, generator=seeded(3)).numpy()))
    model = PoseModel(prior, shots=shots, mixup_share=0.25)
    sampler = PoseSampler(model)
    poses = sampler.draw(400, seeded())
    one, other = shots.flatten(1)
    line = torch.linalg.norm(other - one)
    ways = (poses.flatten(1) - one).norm(dim=1) + (poses.flatten(1) - other).norm(dim=1)
    between = (ways / line - 1).abs() < 0.1
    assert 70 <= int(between.sum()) <= 130
    assert 0 < int(between[:40].sum()) < 40  # shuffled, so any part of them has its share
    assert torch.equal(poses, PoseSampler(model).draw(400, seeded()))
    none = PoseSampler(model, mixup_share=0).draw(400, seeded())
    assert torch.equal(none, PoseSampler(PoseModel(prior)).draw(400, seeded()))


def test_hopeless_sampling_ends_with_a_sentence(prior, monkeypatch):
    monkeypatch.setattr(sampling, "_HOPELESS", 3)
    pool = torch.zeros(2, 10)
    rule = EnergyWeights(pool, pool, torch.tensor([0.5, 0.5]), 0.1, ceiling=1e6)
    with pytest.raises(FlexPoseError, match="Of 256 generated poses none of the last 192"):
        PoseSampler(PoseModel(prior, weights=rule)).draw(5, seeded())


@pytest.mark.parametrize("reject", [0.0, 0.25, 0.9])
def test_the_consistency_filter_drops_its_share(reject, image_prior):
    sampler = PoseSampler(PoseModel(image_prior), reject)
    sampler.draw(60, seeded())
    share = sampler.counts.inconsistent / sampler.counts.made
    assert share == pytest.approx(reject, abs=0.2)
    if reject == 0:
        assert share == 0


def test_filtered_images_are_those_that_differ_most_from_their_redrawing(image_prior):
    sampler = PoseSampler(PoseModel(image_prior), 0.5)
    with torch.no_grad():
        z = torch.randn(16, 6, generator=seeded())
        _, error = image_prior.read(sampling.generate(image_prior.generator, z))
    expected = error <= sampler._threshold
    first = next(sampler.chunks(seeded()))
    assert len(first) == int(expected.sum())
    assert 0 < len(first) < 16


def test_what_is_read_has_the_values_of_the_fit_and_the_gradient_of_beta(image_prior):
    output = sampling.generate(image_prior.generator, torch.randn(3, 6, generator=seeded()))
    images = output.images.detach().requires_grad_(True)
    read, _ = image_prior.read(replace(output, images=images))
    fitted, _ = image_prior.fit(image_prior.regressor(images.detach())[0], images.detach())
    assert torch.allclose(read, box_normalised(fitted), atol=1e-6)
    read.sum().backward()
    assert images.grad.abs().sum() > 0


def test_truncation_lessens_variety(prior):
    for _ in range(20):
        prior.generator.mapping.track(prior.generator.mapping(torch.randn(64, 6)), beta=0.5)
    spread = [
        PoseSampler(PoseModel(prior), truncation=psi).draw(200, seeded()).var(dim=0).sum()
        for psi in (1.0, 0.5, 0.01)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_images_cannot_be_read_without_beta(image_prior):
    blind = replace(image_prior, regressor=None)
    with pytest.raises(CheckpointError, match="reading them needs beta"):
        keypoints(blind.generator, blind, torch.randn(2, 6))


def test_layers_are_named_one_by_one_or_all(prior):
    assert chosen_layers(prior.generator, (3, 1)) == [3, 1]
    assert chosen_layers(prior.generator, "all") == [1, 2, 3]
