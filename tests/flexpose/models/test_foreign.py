"""Other StyleGANs' weights: slow forward passes by the published formulas, errors, round trips."""

from __future__ import annotations

import itertools
import math
import pickle
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from flexpose.cli.__main__ import main
from flexpose.errors import CheckpointError, ConfigError, UnknownNameError
from flexpose.models.foreign import foreign_generator, import_prior
from flexpose.models.generator import styles
from flexpose.models.prior import load_generator
from flexpose.rendering.style import DrawingStyle
from flexpose.skeleton import load_skeleton

RS2, RS1, ADA = "rosinality-stylegan2", "rosinality-stylegan1", "nvlabs-ada"
families = pytest.mark.parametrize("family", [RS2, RS1, ADA])
W, DEPTH = 6, 2


def filled(shapes, seed=0):
    """A random state dict of given shapes."""
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


def stylegan2(widths=(8, 8, 4)):
    shapes = {"input.input": (1, widths[0], 4, 4)}
    for i in range(1, DEPTH + 1):
        shapes |= {f"style.{i}.weight": (W, W), f"style.{i}.bias": (W,)}
    convs = [("conv1", widths[0], widths[0])]
    images = [("to_rgb1", widths[0])]
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        convs += [(f"convs.{2 * k}", a, b), (f"convs.{2 * k + 1}", b, b)]
        images.append((f"to_rgbs.{k}", b))
    for i, (name, a, b) in enumerate(convs):
        side = 4 << (i + 1) // 2
        shapes |= {
            f"{name}.conv.weight": (1, b, a, 3, 3),
            f"{name}.conv.modulation.weight": (a, W),
            f"{name}.conv.modulation.bias": (a,),
            f"{name}.noise.weight": (1,),
            f"{name}.activate.bias": (b,),
            f"noises.noise_{i}": (1, 1, side, side),
        }
    for name, a in images:
        shapes |= {
            f"{name}.conv.weight": (1, 3, a, 1, 1),
            f"{name}.conv.modulation.weight": (a, W),
            f"{name}.conv.modulation.bias": (a,),
            f"{name}.bias": (1, 3, 1, 1),
        }
    made = filled(shapes)
    made["convs.0.conv.blur.kernel"] = torch.outer(TAPS, TAPS).float() / 16
    return scaled_mapping(made, "style.")


def ada(widths=(8, 8, 4), channels=3, z_dim=5):
    shapes = {"synthesis.b4.const": (widths[0], 4, 4), "mapping.w_avg": (W,)}
    for i in range(DEPTH):
        shapes |= {f"mapping.fc{i}.weight": (W, W if i else z_dim), f"mapping.fc{i}.bias": (W,)}
    for k, width in enumerate(widths):
        side = 4 << k
        for j in (0, 1)[k == 0 :]:
            into, name = (widths[k - 1] if j == 0 else width), f"synthesis.b{side}.conv{j}"
            shapes |= {
                f"{name}.weight": (width, into, 3, 3),
                f"{name}.bias": (width,),
                f"{name}.affine.weight": (into, W),
                f"{name}.affine.bias": (into,),
                f"{name}.noise_const": (side, side),
                f"{name}.noise_strength": (),
            }
        name = f"synthesis.b{side}.torgb"
        shapes |= {
            f"{name}.weight": (channels, width, 1, 1),
            f"{name}.bias": (channels,),
            f"{name}.affine.weight": (width, W),
            f"{name}.affine.bias": (width,),
        }
    made = filled(shapes)
    made["synthesis.b8.resample_filter"] = torch.outer(TAPS, TAPS).float() / 64
    return scaled_mapping(made, "mapping.fc")


def scaled_mapping(tensors, prefix):
    """Weights and biases of a mapping network are stored divided by lr_mult."""
    return {n: t * 100 if n.startswith(prefix) else t for n, t in tensors.items()}


def stylegan1(widths=(8, 8, 4), fused=()):
    shapes = {"generator.progression.0.conv1.input": (1, widths[0], 4, 4)}
    for i in range(DEPTH):
        name = f"style.{2 * i + 1}.linear"
        shapes |= {f"{name}.weight_orig": (W, W), f"{name}.bias": (W,)}
    for k, width in enumerate(widths):
        block = f"generator.progression.{k}"
        if k in fused:
            shapes |= {
                f"{block}.conv1.0.weight": (widths[k - 1], width, 3, 3),
                f"{block}.conv1.0.bias": (width,),
            }
        elif k:
            shapes |= {
                f"{block}.conv1.1.conv.weight_orig": (width, widths[k - 1], 3, 3),
                f"{block}.conv1.1.conv.bias": (width,),
            }
        shapes |= {
            f"{block}.conv2.conv.weight_orig": (width, width, 3, 3),
            f"{block}.conv2.conv.bias": (width,),
            f"generator.to_rgb.{k}.conv.weight_orig": (3, width, 1, 1),
            f"generator.to_rgb.{k}.conv.bias": (3,),
        }
        for j in (1, 2):
            shapes |= {
                f"{block}.noise{j}.weight_orig": (1, width, 1, 1),
                f"{block}.adain{j}.style.linear.weight_orig": (2 * width, W),
                f"{block}.adain{j}.style.linear.bias": (2 * width,),
            }
    return filled(shapes)


TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)


def filtered(image, taps, pad):
    """Zeros around, then one output pixel at a time; taps are normalised by their sum."""
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    padded = F.pad(image, (*pad, *pad))
    size = len(taps)
    height, width = padded.shape[2] - size + 1, padded.shape[3] - size + 1
    out = padded.new_empty(*image.shape[:2], height, width)
    for i in range(height):
        for j in range(width):
            out[:, :, i, j] = (padded[:, :, i : i + size, j : j + size] * kernel).sum((2, 3))
    return out


def zeros_between(image):
    out = image.new_zeros(*image.shape[:2], 2 * image.shape[2], 2 * image.shape[3])
    out[:, :, ::2, ::2] = image
    return out


def stamped(x, weight):
    """Transposed convolution of one sample (I, h, w) by weight (O, I, 3, 3), stride 2."""
    _, h, w = x.shape
    out = x.new_zeros(1, weight.shape[0], 2 * h + 1, 2 * w + 1)
    for i in range(h):
        for j in range(w):
            stamp = torch.einsum("c,ocab->oab", x[:, i, j], weight)
            out[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += stamp
    return out


def lrelu(x):
    return torch.where(x < 0, 0.2 * x, x)


def normalised_latents(z):
    return z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def modulated(x, w, weight, affine, up=False, demodulate=True):
    """Weights of each sample by themselves; affine is (weight, bias)."""
    out = []
    for sample, one in zip(x, w, strict=True):
        style = affine[0] @ one / math.sqrt(W) + affine[1]
        own = weight * style[None, :, None, None]
        if demodulate:
            own = own / (own.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            out.append(4 * filtered(stamped(sample, own), TAPS, (1, 1)))
        else:
            out.append(F.conv2d(sample[None], own, padding=own.shape[-1] // 2))
    return torch.cat(out)


def stylegan2_images(read, z, widths, gain):
    """StyleGAN2 at latents z; ``read`` gives tensors by role, ``gain`` is in conv weights."""
    x = normalised_latents(z)
    for i in range(DEPTH):
        weight, bias = read("fc", i)
        x = math.sqrt(2) * lrelu(x @ weight.T * 0.01 / math.sqrt(weight.shape[1]) + bias * 0.01)
    w, x, image = x, read("const", 0).expand(len(z), -1, -1, -1), None
    for i in range(2 * len(widths) - 1):
        weight, bias, affine, noise, strength = read("conv", i)
        weight = weight / math.sqrt(weight[0].numel()) if gain else weight
        x = modulated(x, w, weight, affine, up=i % 2 == 1) + strength * noise
        x = math.sqrt(2) * lrelu(x + bias.view(1, -1, 1, 1))
        if i % 2 == 0:
            weight, bias, affine = read("rgb", i // 2)
            weight = weight / math.sqrt(weight.shape[1])
            new = modulated(x, w, weight, affine, demodulate=False) + bias.view(1, -1, 1, 1)
            if image is not None:
                new = new + 4 * filtered(zeros_between(image), TAPS, (2, 1))
            image = new
    return image


def rosinality_reader(sd):
    def read(role, i):
        if role == "fc":
            return sd[f"style.{i + 1}.weight"], sd[f"style.{i + 1}.bias"]
        if role == "const":
            return sd["input.input"]
        kind = ("conv1", f"convs.{i - 1}") if role == "conv" else ("to_rgb1", f"to_rgbs.{i - 1}")
        name = kind[i > 0]
        weight = sd[f"{name}.conv.weight"][0]
        affine = sd[f"{name}.conv.modulation.weight"], sd[f"{name}.conv.modulation.bias"]
        if role == "rgb":
            return weight, sd[f"{name}.bias"], affine
        noise, strength = sd[f"noises.noise_{i}"], sd[f"{name}.noise.weight"]
        return weight, sd[f"{name}.activate.bias"], affine, noise, strength

    return read


def ada_reader(sd):
    def read(role, i):
        if role == "fc":
            return sd[f"mapping.fc{i}.weight"], sd[f"mapping.fc{i}.bias"]
        if role == "const":
            return sd["synthesis.b4.const"][None]
        side, kind = (
            (4 << (i + 1) // 2, f"conv{1 - i % 2}") if role == "conv" else (4 << i, "torgb")
        )
        name = f"synthesis.b{side}.{kind}"
        found = sd[f"{name}.weight"], sd[f"{name}.bias"]
        affine = sd[f"{name}.affine.weight"], sd[f"{name}.affine.bias"]
        if role == "rgb":
            return *found, affine
        return *found, affine, sd[f"{name}.noise_const"], sd[f"{name}.noise_strength"]

    return read


def he(weight):
    """StyleGAN1 in PyTorch: sqrt(2 / fan-in) on every weight, noise strengths too."""
    return weight * math.sqrt(2 / weight[0].numel())


def stylegan1_images(sd, z, step, noises, eps):
    x = normalised_latents(z)
    for i in range(DEPTH):
        name = f"style.{2 * i + 1}.linear"
        x = lrelu(x @ he(sd[f"{name}.weight_orig"]).T + sd[f"{name}.bias"])
    w, x = x, sd["generator.progression.0.conv1.input"].expand(len(z), -1, -1, -1)
    blur = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    for k in range(step + 1):
        block = f"generator.progression.{k}"
        for j in (1, 2):
            if j == 2:
                conv = f"{block}.conv2.conv"
                x = F.conv2d(x, he(sd[f"{conv}.weight_orig"]), sd[f"{conv}.bias"], padding=1)
            elif f"{block}.conv1.0.weight" in sd:
                weight = sd[f"{block}.conv1.0.weight"]
                fan_in = weight.shape[0] * 9
                wide = sum(
                    F.pad(weight * math.sqrt(2 / fan_in), (a, 1 - a, b, 1 - b))
                    for a in (0, 1)
                    for b in (0, 1)
                )
                bias = sd[f"{block}.conv1.0.bias"]
                x = F.conv_transpose2d(x, wide / 4, bias, stride=2, padding=1)
                x = filtered(x, blur, (1, 1))
            elif k:
                conv = f"{block}.conv1.1.conv"
                wide = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
                x = F.conv2d(wide, he(sd[f"{conv}.weight_orig"]), sd[f"{conv}.bias"], padding=1)
                x = filtered(x, blur, (1, 1))
            x = lrelu(x + he(sd[f"{block}.noise{j}.weight_orig"]) * noises[2 * k + j - 1])
            mean = x.mean(dim=(2, 3), keepdim=True)
            x = (x - mean) / ((x - mean).square().mean(dim=(2, 3), keepdim=True) + eps).sqrt()
            name = f"{block}.adain{j}.style.linear"
            style = w @ he(sd[f"{name}.weight_orig"]).T + sd[f"{name}.bias"]
            scale, shift = style[..., None, None].chunk(2, dim=1)
            x = scale * x + shift
    name = f"generator.to_rgb.{step}.conv"
    return F.conv2d(x, he(sd[f"{name}.weight_orig"]), sd[f"{name}.bias"])


def latents(generator, n=2):
    return torch.randn(n, generator.z_dim, generator=torch.Generator().manual_seed(5))


def images(generator, z):
    return generator.synthesize(styles(generator, z)).images


def close(found, expected):
    assert found.shape == expected.shape
    assert expected.std() > 0.1
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-4)


def double(sd):
    return {name: tensor.double() for name, tensor in sd.items()}


def written(sd, path):
    torch.save(sd, path)
    return path


TINY = {RS2: stylegan2, RS1: stylegan1, ADA: ada}


def size_for(family, size=16):
    return size if family == RS1 else None


@pytest.mark.parametrize("widths", [(8, 8, 4), (6, 3), (4, 4, 4)])
def test_stylegan2_draws_what_its_formulas_draw(widths, tmp_path):
    sd = stylegan2(widths)
    generator = foreign_generator(written(sd, tmp_path / "g.pt"), RS2)
    assert (generator.size, generator.z_dim) == (2 << len(widths), W)
    z = latents(generator)
    expected = stylegan2_images(rosinality_reader(double(sd)), z.double(), widths, gain=True)
    close(images(generator, z), expected)


@pytest.mark.parametrize(("widths", "channels", "z_dim"), [((8, 8, 4), 3, 5), ((6, 3), 1, W)])
def test_ada_draws_what_its_formulas_draw(widths, channels, z_dim, tmp_path):
    sd = ada(widths, channels, z_dim)
    generator = foreign_generator(written(sd, tmp_path / "g.pt"), ADA)
    assert torch.equal(generator.w_mean, sd["mapping.w_avg"])
    z = latents(generator)
    assert z.shape[1] == z_dim
    expected = stylegan2_images(ada_reader(double(sd)), z.double(), widths, gain=False)
    close(images(generator, z), expected)


@pytest.mark.parametrize("fused", [(), (2,)])
@pytest.mark.parametrize("size", [8, 16])
def test_stylegan1_draws_what_its_formulas_draw(fused, size, tmp_path):
    sd = stylegan1(fused=fused)
    generator = foreign_generator(written(sd, tmp_path / "g.pt"), RS1, size)
    assert (generator.size, len(generator.layers)) == (size, 4 if size == 8 else 6)
    z = latents(generator)
    noises = [layer.noise.fixed.double() for layer in generator.synthesis]
    found, step = images(generator, z), {8: 1, 16: 2}[size]
    close(found, stylegan1_images(double(sd), z.double(), step, noises, eps=1e-8))
    # its own eps of instance norm is larger than ours, which these images hardly show
    theirs = stylegan1_images(double(sd), z.double(), step, noises, eps=1e-5)
    close(found / theirs.std(), theirs / theirs.std())


@families
def test_a_training_checkpoint_and_safetensors_say_the_same(family, tmp_path):
    sd, size = TINY[family](), size_for(family)
    name = {RS2: "g_ema", RS1: "g_running", ADA: "G_ema"}[family]
    content = {name: sd, "g_optim": {"state": {0: {"step": 3}}}, "args": Namespace(size=16)}
    save_file(sd, tmp_path / "g.safetensors")
    first = foreign_generator(written(sd, tmp_path / "flat.pt"), family, size)
    assert not any(p.requires_grad for p in first.parameters())
    for path in (written(content, tmp_path / "full.pt"), tmp_path / "g.safetensors"):
        other = foreign_generator(path, family, size)
        for key, tensor in first.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[key]), key


def test_the_mean_of_w_is_the_files_or_that_of_many_latents(tmp_path):
    sd = stylegan2()
    without = foreign_generator(written(sd, tmp_path / "a.pt"), RS2)
    with torch.no_grad():
        expected = without.mapping(latents(without, 20_000)).mean(dim=0)
    assert torch.allclose(without.w_mean, expected, atol=0.05)
    mean = torch.arange(W).float()
    path = written({"g_ema": sd, "latent_avg": mean[None]}, tmp_path / "b.pt")
    assert torch.equal(foreign_generator(path, RS2).w_mean, mean)


@families
def test_a_prior_is_written_and_loaded(family, tmp_path):
    sd = TINY[family](widths=(8, 8, 8, 8))
    path = written(sd, tmp_path / "g.pt")
    skeleton, size = load_skeleton("body15"), size_for(family, 32)
    out = import_prior(path, family, skeleton, None, tmp_path / "prior", size)
    prior = load_generator(out)
    assert prior.skeleton == skeleton
    assert prior.style == DrawingStyle.for_size(32)
    assert family in prior.meta.licence
    expected = foreign_generator(path, family, size)
    z = latents(expected)
    assert torch.equal(images(prior.generator, z), images(expected, z))
    with pytest.raises(CheckpointError, match="exists already"):
        import_prior(path, family, skeleton, None, out, size)


def test_the_command_writes_a_prior(tmp_path, capsys):
    path = written(stylegan2(widths=(8, 8, 8, 8)), tmp_path / "g.pt")
    words = ["import-prior", str(path), str(tmp_path / "p"), "--family", RS2]
    assert main(words) == 0
    assert "a prior of body15" in capsys.readouterr().out
    assert load_generator(tmp_path / "p").generator.size == 32
    assert main(words) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_prior_needs_a_canvas_that_priors_have(tmp_path):
    skeleton = load_skeleton("body15")
    path = written(stylegan2(), tmp_path / "g.pt")
    with pytest.raises(ConfigError, match=r"g\.pt: size: input should be 32, 64, 128 or 256"):
        import_prior(path, RS2, skeleton, None, tmp_path / "out")
    path = written(stylegan2(widths=(8, 8, 8, 8)), tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match="draws 32 pixels in 3 channels, the drawing style"):
        import_prior(path, RS2, skeleton, DrawingStyle(64), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_file_is_not_run(save, tmp_path):
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self):
            return Path.touch, (mark,)

    save({"G_ema": Evil()}, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match="pickled code, which is never run") as info:
        foreign_generator(tmp_path / "g.pt", ADA)
    assert "in your clone of it" in info.value.hint
    assert "['G_ema'].state_dict()" in info.value.hint
    assert not mark.exists()


@families
def test_missing_tensors_are_named(family, tmp_path):
    sd = TINY[family]()
    name = {
        RS2: "convs.1.activate.bias",
        RS1: "generator.progression.1.adain2.style.linear.bias",
        ADA: "synthesis.b8.torgb.affine.weight",
    }[family]
    del sd[name]
    path = written(sd, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=f"lacks {name}, which a {family} generator has"):
        foreign_generator(path, family, size_for(family))


def test_a_file_of_another_family_lacks_much(tmp_path):
    path = written(stylegan2(), tmp_path / "g.pt")
    for family in (ADA, RS1):
        with pytest.raises(CheckpointError, match=r"lacks .* and \d+ more.* Check the family"):
            foreign_generator(path, family, size_for(family))


def other(sd, **changes):
    return {**sd, **changes}


@pytest.mark.parametrize(
    ("family", "sd", "size", "said"),
    [
        (RS2, stylegan2((8, 8, 8, 2)), None, "has 8, 8, 8, 2 features from 4 pixels on"),
        (RS2, stylegan2((4, 8)), None, "has 4, 8 features"),
        (RS2, stylegan2(), 32, "draws 16 pixels, not 32"),
        (RS1, stylegan1(), None, "several sizes, trained or not, and None was asked for"),
        (RS1, stylegan1(), 24, "expected one of 8, 16, 32"),
        (RS1, stylegan1(), 32, r"lacks generator\.progression\.3"),
        (ADA, ada(channels=4), None, "draws 4 channels, expected 1 or 3"),
        (ADA, other(ada(), **{"mapping.embed.weight": torch.ones(1)}), None, "on classes"),
        (
            ADA,
            other(ada(), **{"synthesis.b4.resample_filter": torch.ones(4, 4)}),
            None,
            r"b4\.resample_filter is not the \[1, 3, 3, 1\] filter",
        ),
        (
            RS2,
            other(stylegan2(), **{"convs.0.conv.weight": torch.ones(1, 8, 8, 1, 1)}),
            None,
            r"convs\.0\.conv\.weight has the shape \(1, 8, 8, 1, 1\), expected \(8, 8, 3, 3\)",
        ),
        (RS2, {"a": 1}, None, "holds no state dict, expected tensors by name, or those under 'g_"),
        (RS2, [1, 2], None, "holds no state dict"),
    ],
)
def test_what_does_not_fit_is_refused(family, sd, size, said, tmp_path):
    with pytest.raises(CheckpointError, match=said):
        foreign_generator(written(sd, tmp_path / "g.pt"), family, size)


@pytest.mark.parametrize("name", ["g.pt", "g.safetensors"])
@pytest.mark.parametrize("data", [None, b"", b"no weights at all", b"PK\x03\x04 half a file"])
def test_damaged_files_are_refused(name, data, tmp_path):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        foreign_generator(tmp_path / name, RS2)


def test_an_unknown_family_gets_a_guess(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'nvlabs-ada'"):
        foreign_generator(tmp_path / "g.pt", "nvlab-ada")
