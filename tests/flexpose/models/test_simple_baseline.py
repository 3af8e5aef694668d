"""ResNet as files on disk name it, and SimpleBaseline on it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from flexpose.errors import CheckpointError
from flexpose.models.backbones import ResNet
from flexpose.models.heatmaps import begin, new_network
from flexpose.models.simple_baseline import SimpleBaseline

# parameters without the classifier, and tensors of a state dict, of torchvision's networks
SIZES = {
    "resnet18": (11_176_512, 120),
    "resnet50": (23_508_032, 318),
    "resnet101": (42_500_160, 624),
}


@pytest.mark.parametrize("kind", SIZES)
def test_a_resnet_has_the_size_of_torchvisions(kind):
    with torch.device("meta"):
        net = ResNet(kind)
    parameters, tensors = SIZES[kind]
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == tensors


def test_a_resnet_names_its_tensors_as_torchvision():
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in ResNet("resnet50").state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["bn1.running_mean"] == (64,)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer1.0.downsample.1.num_batches_tracked"] == ()
    assert shapes["layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.2.bn3.bias"] == (2048,)
    assert "layer1.1.downsample.0.weight" not in shapes


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_of_a_file_are_taken_and_the_classifier_left(ending, tmp_path):
    state = {k: v + 1 for k, v in ResNet("resnet18").state_dict().items()}
    state |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    path = tmp_path / f"net{ending}"
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    net = SimpleBaseline(3, "resnet18", path)
    begin(net, torch.Generator().manual_seed(0), learned=True)
    own = net.encoder.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    with pytest.raises(CheckpointError, match="no usable state dict"):
        ResNet("resnet50", path)
    path.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="no usable state dict"):
        ResNet("resnet18", path)


def test_maps_have_a_quarter_of_the_crops_side_and_begin_near_nothing():
    net = new_network(5, 4, "resnet18", head_layers=2)
    begin(net, torch.Generator().manual_seed(0), learned=False)
    maps = net(torch.zeros(2, 3, 64, 64))
    assert maps.shape == (2, 5, 16, 16)
    assert net.stride == 64 // 16
    assert net.up[0].weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert net.out[0].weight.std().item() == pytest.approx(0.001, rel=0.05)
    again = new_network(5, 4, "resnet18", head_layers=2)
    begin(again, torch.Generator().manual_seed(0), learned=False)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
