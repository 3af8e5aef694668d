"""StyleGAN in its two forms: numbering, slow references, mixing, truncation, noise, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from flexpose.models.generator import PoseGenerator, styles
from flexpose.models.layers import blur, leaky
from flexpose.models.stylegan import (
    AdaINLayer,
    DemodLayer,
    ImageDiscriminator,
    StyleGenerator,
    double,
    restyle,
    up_conv,
    up_conv_filtered,
)

both = pytest.mark.parametrize("modulation", ["adain", "demod"])


def tiny(modulation, size=16, channels=3):
    torch.manual_seed(0)
    return StyleGenerator(size, channels, modulation, 8, 8, 2, channel_base=64, channel_max=8)


def latents(n=3, seed=0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def noisy(generator):
    with torch.no_grad():
        for layer in generator.synthesis:
            layer.noise.strength.fill_(0.3)
    return generator


@pytest.mark.parametrize(
    ("modulation", "size", "count"),
    [("adain", 64, 10), ("adain", 128, 12), ("demod", 64, 9), ("demod", 128, 11)],
)
def test_layers_are_numbered_as_in_the_reference_implementations(modulation, size, count):
    layers = StyleGenerator(size, 3, modulation, 8, 8, 1, 128, 8).layers
    assert [layer.index for layer in layers] == list(range(1, count + 1))
    resolutions = [layer.resolution for layer in layers]
    blocks = [8, 16, 32, 64, 128][: int(math.log2(size)) - 2]
    start = [4, 4] if modulation == "adain" else [4]
    assert resolutions == start + [r for r in blocks for _ in range(2)]
    third = layers[2]
    assert third.name == ("8x8 up" if modulation == "adain" else "8x8 conv")
    names = ["4x4 const", "4x4 conv"] if modulation == "adain" else ["4x4 conv"]
    assert [layer.name for layer in layers[: len(names)]] == names


def test_a_style_is_scale_and_shift_or_one_scale_an_input():
    assert [layer.style_dim for layer in tiny("adain").layers] == [16, 16, 16, 16, 8, 8]
    assert [layer.style_dim for layer in tiny("demod").layers] == [8, 8, 8, 8, 4]


@both
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_protocol(modulation, channels):
    generator = tiny(modulation, channels=channels)
    assert isinstance(generator, PoseGenerator)
    codes = styles(generator, latents(2))
    for code, layer in zip(codes, generator.layers, strict=False):
        assert code.shape == (2, layer.style_dim)
    output = generator.synthesize(codes)
    assert output.images.shape == (2, channels, 16, 16)
    assert output.images.isfinite().all()
    assert output.keypoints is None


def test_up_conv_equals_doubling_convolving_and_blurring():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 5, 4).double(), torch.randn(6, 3, 3, 3).double()
    wide = F.interpolate(x, scale_factor=2, mode="nearest")
    expected = blur(F.conv2d(wide, weight, padding=1))
    assert torch.allclose(up_conv(x, weight), expected, atol=1e-12)
    bias = torch.randn(6).double()
    expected = blur(F.conv2d(wide, weight, bias, padding=1))
    assert torch.allclose(up_conv(x, weight, bias), expected, atol=1e-12)


def filtered_slowly(image, pad):
    """The [1, 3, 3, 1] filter of gain 4 (2 an axis), one output pixel at a time."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=image.dtype) / 4
    kernel = torch.outer(taps, taps)
    padded = F.pad(image, (*pad, *pad))
    height, width = padded.shape[2] - 3, padded.shape[3] - 3
    out = torch.empty(*image.shape[:2], height, width, dtype=image.dtype)
    for i in range(height):
        for j in range(width):
            out[:, :, i, j] = (padded[:, :, i : i + 4, j : j + 4] * kernel).sum(dim=(2, 3))
    return out


def test_doubling_an_image_equals_its_slow_reference():
    torch.manual_seed(0)
    image = torch.randn(2, 3, 4, 5).double()
    spread = torch.zeros(2, 3, 8, 10).double()
    spread[:, :, ::2, ::2] = image
    # StyleGAN2: (filter + up - 1) // 2 zeros before, (filter - up) // 2 after
    assert torch.allclose(double(image), filtered_slowly(spread, (2, 1)), atol=1e-12)
    assert torch.allclose(double(torch.ones(1, 1, 6, 6))[..., 2:-2, 2:-2], torch.ones(1))


def test_filtered_up_convolution_equals_its_slow_reference():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 4, 4).double(), torch.randn(5, 3, 3, 3).double()
    # a transposed convolution drops one scaled copy of the kernel at every second pixel
    spread = torch.zeros(2, 5, 9, 9).double()
    for i in range(4):
        for j in range(4):
            spread[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += torch.einsum(
                "nc,ochw->nohw", x[:, :, i, j], weight
            )
    expected = filtered_slowly(spread, (1, 1))
    assert expected.shape == (2, 5, 8, 8)
    assert torch.allclose(up_conv_filtered(x, weight), expected, atol=1e-12)


@pytest.mark.parametrize("up", [False, True])
def test_a_demodulated_layer_equals_modulating_the_weights_of_each_sample(up):
    torch.manual_seed(0)
    layer = DemodLayer(4, 6, 8, first=False, up=up).double()
    with torch.no_grad():
        layer.bias.normal_()
        layer.noise.strength.fill_(0.7)
    x, style = torch.randn(3, 4, *(2 * [4 if up else 8])).double(), torch.randn(3, 4).double()
    expected = []
    for sample, scale in zip(x, style, strict=True):
        weight = layer.weight / math.sqrt(36) * scale.view(1, 4, 1, 1)
        norm = (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        weight = weight / norm
        if up:
            y = up_conv_filtered(sample[None], weight)
        else:
            y = F.conv2d(sample[None], weight, padding=1)
        expected.append(leaky(y + 0.7 * layer.noise.fixed + layer.bias.view(1, -1, 1, 1)))
    assert torch.allclose(layer(x, style, None), torch.cat(expected), atol=1e-10)


@pytest.mark.parametrize("up", [False, True])
def test_an_adain_layer_equals_normalising_and_restyling(up):
    torch.manual_seed(0)
    layer = AdaINLayer(4, 6, 8, first=False, up=up).double()
    with torch.no_grad():
        layer.bias.normal_()
        layer.noise.strength.normal_()
    x, style = torch.randn(3, 4, *(2 * [4 if up else 8])).double(), torch.randn(3, 12).double()
    wide = F.interpolate(x, scale_factor=2, mode="nearest") if up else x
    y = F.conv2d(wide, layer.weight / math.sqrt(36), layer.bias, padding=1)
    y = blur(y) if up else y
    y = y + layer.noise.strength.view(1, -1, 1, 1) * layer.noise.fixed
    y = F.instance_norm(F.leaky_relu(y, 0.2), eps=1e-8)
    expected = y * style[:, :6, None, None] + style[:, 6:, None, None]
    assert torch.allclose(layer(x, style, None), expected, atol=1e-10)


def test_restyle_has_the_right_gradients():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 4, generator=random).double().requires_grad_(True)
    scale, shift = torch.randn(2, 2, 3, 1, 1, generator=random).double().requires_grad_(True)
    assert torch.autograd.gradcheck(restyle, (x, scale, shift))


def test_restyle_of_a_constant_map_is_its_shift():
    scale, shift = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -0.5)
    made = restyle(torch.full((1, 1, 4, 4), 0.3), scale, shift)
    assert torch.allclose(made, torch.full_like(made, -0.5), atol=1e-2)


@both
def test_affines_start_by_changing_nothing(modulation):
    generator = tiny(modulation)
    for code, layer in zip(generator.codes(torch.zeros(1, 8)), generator.layers, strict=False):
        half = layer.style_dim // 2 if modulation == "adain" else layer.style_dim
        assert (code[:, :half] == 1).all()
        assert (code[:, half:] == 0).all()


@both
def test_style_mixing_changes_the_later_layers_only(modulation):
    generator = tiny(modulation)
    w, other = generator.mapping(latents()), generator.mapping(latents(seed=1))
    count = len(generator.layers)
    plain = generator.codes(w)
    for a, b in zip(generator.codes([w] * count), plain, strict=True):
        assert torch.equal(a, b)
    for cut in range(1, count):
        mixed = generator.codes([w] * cut + [other] * (count - cut))
        for i in range(count):
            assert torch.equal(mixed[i], plain[i]) == (i < cut)
        assert not torch.equal(
            generator.synthesize(mixed).images, generator.synthesize(plain).images
        )


@both
def test_coarse_features_do_not_see_later_styles(modulation):
    generator = tiny(modulation)
    seen = []
    generator.synthesis[2].register_forward_hook(lambda m, i, out: seen.append(out))
    codes = list(styles(generator, latents()))
    generator.synthesize(codes)
    codes[4] = codes[4] + 1
    generator.synthesize(codes)
    assert torch.equal(*seen)


@both
def test_truncation_pulls_to_the_pose_of_the_mean(modulation):
    generator = tiny(modulation)
    for seed in range(50):
        generator.mapping.track(generator.mapping(latents(64, seed)), beta=0.9)
    w_mean = generator.w_mean
    assert w_mean.abs().sum() > 0
    mean = generator.codes(w_mean[None])
    for code, expected in zip(styles(generator, latents(), 0.0), mean, strict=True):
        assert torch.allclose(code, expected.expand_as(code), atol=1e-6)
    near = generator.synthesize(styles(generator, latents(), 1e-4)).images
    assert torch.allclose(near, generator.synthesize(mean).images.expand_as(near), atol=1e-2)
    for a, b in zip(styles(generator, latents()), styles(generator, latents(), 1.0), strict=True):
        assert torch.equal(a, b)


@both
def test_noise_is_fixed_unless_a_source_is_given(modulation):
    generator = noisy(tiny(modulation))
    codes = styles(generator, latents())
    fixed = [generator.synthesize(codes).images for _ in range(2)]
    assert torch.equal(*fixed)
    again = noisy(tiny(modulation)).synthesize(codes).images
    assert torch.equal(again, fixed[0])
    a, b, c = (
        generator.synthesize(codes, torch.Generator().manual_seed(seed)).images
        for seed in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a, fixed[0])


@both
def test_a_sample_does_not_depend_on_its_batch(modulation):
    generator = tiny(modulation)
    codes = styles(generator, latents(3))
    batch = generator.synthesize(codes).images
    for k in range(3):
        single = generator.synthesize([code[k : k + 1] for code in codes]).images
        assert torch.allclose(single, batch[k : k + 1], atol=1e-5)


@both
def test_gradients_reach_every_parameter(modulation):
    generator = tiny(modulation)
    images = generator.synthesize(styles(generator, latents(4))).images
    (
        images * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    ).sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("channels", [1, 3])
def test_the_discriminator_gives_one_logit_an_image(channels):
    torch.manual_seed(0)
    disc = ImageDiscriminator(16, channels, channel_base=64, channel_max=8)
    images = torch.randn(4, channels, 16, 16, requires_grad=True)
    logits = disc(images)
    assert logits.shape == (4, 1)
    logits.sum().backward()
    assert images.grad.abs().sum() > 0
    for name, parameter in disc.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
