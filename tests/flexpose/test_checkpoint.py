"""Checkpoints appear whole or not at all, and damaged ones are refused with a sentence."""

from __future__ import annotations

import json

import pytest
import torch

from flexpose import checkpoint as module
from flexpose.checkpoint import (
    CheckpointMeta,
    find_checkpoint,
    latest_checkpoint,
    load_checkpoint,
    mark_latest,
    save_checkpoint,
    sha256_of,
)
from flexpose.compute import (
    device_lines,
    generator_for,
    prepare,
    resolve_device,
    translate_out_of_memory,
)
from flexpose.errors import CheckpointError, DeviceMemoryError, FlexPoseError
from flexpose.skeleton import load_skeleton

META = CheckpointMeta(
    kind="prior",
    step=500,
    skeleton=load_skeleton("body15").to_dict(),
    style={"size": 64},
    config={"lr": 1e-3},
    parent={"path": "runs/a", "sha256": "ab"},
    metrics={"energy": 0.5},
    licence="CC-BY-4.0",
)
SHARED = torch.arange(6.0)
TENSORS = {
    "generator.w": SHARED.reshape(2, 3).T,
    "generator.b": SHARED[:2],
    "on": torch.tensor(True),
}
TRAIN = {"optimiser": {"state": {0: {"m": torch.ones(2)}}, "groups": [{"lr": 0.1}]}, "count": 3}


@pytest.fixture
def saved(tmp_path):
    return save_checkpoint(
        tmp_path / "checkpoints" / "step-000500", tensors=TENSORS, meta=META, train_state=TRAIN
    )


def test_what_was_saved_comes_back(saved):
    found = load_checkpoint(saved, kind="prior")
    assert found.path == saved
    assert found.meta == META
    assert found.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found.tensors[name], tensor)
    assert found.train_state is not None
    assert torch.equal(found.train_state["optimiser"]["state"][0]["m"], torch.ones(2))
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_train_state_is_optional(tmp_path):
    folder = save_checkpoint(tmp_path / "c", tensors=TENSORS, meta=META)
    assert load_checkpoint(folder).train_state is None


def test_a_run_stands_for_its_latest_checkpoint(saved):
    run = saved.parents[1]
    assert latest_checkpoint(saved.parent) is None
    with pytest.raises(CheckpointError, match="neither a checkpoint"):
        find_checkpoint(run)
    mark_latest(saved)
    assert load_checkpoint(run).path == saved
    assert sha256_of(run) == sha256_of(saved)
    (saved.parent / "latest").write_text("step-000900\n")
    with pytest.raises(CheckpointError, match="'step-000900', which is not a checkpoint"):
        latest_checkpoint(saved.parent)


def test_the_hash_is_of_the_weights(saved, tmp_path):
    other = save_checkpoint(tmp_path / "other", tensors=TENSORS, meta=META)
    changed = save_checkpoint(tmp_path / "changed", tensors={"w": torch.ones(1)}, meta=META)
    assert sha256_of(other) == sha256_of(saved) != sha256_of(changed)
    (changed / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        sha256_of(changed)


def test_a_checkpoint_is_never_overwritten(saved):
    with pytest.raises(CheckpointError, match="exists already"):
        save_checkpoint(saved, tensors=TENSORS, meta=META)


@pytest.mark.parametrize("name", ["weights.safetensors", "train_state.pt", "meta.json"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_truncated_files_are_refused(saved, name, keep):
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved)


def test_missing_weights_are_named(saved):
    (saved / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks weights\.safetensors"):
        load_checkpoint(saved)


def test_another_kind_version_or_key_is_refused(saved):
    with pytest.raises(CheckpointError, match="kind 'prior', expected 'adapter'"):
        load_checkpoint(saved, kind="adapter")
    data = json.loads((saved / "meta.json").read_text())
    (saved / "meta.json").write_text(json.dumps({**data, "surprise": 1}))
    with pytest.raises(CheckpointError, match="surprise"):
        load_checkpoint(saved)
    (saved / "meta.json").write_text(json.dumps({**data, "format_version": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(saved)


def test_pickled_code_is_not_loaded(saved):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"x": Evil()}, saved / "train_state.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize("target", ["save_file", "torch.save", "os.replace"])
def test_a_full_disk_leaves_nothing_behind(saved, target, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    owner, _, name = f"module.{target}".rpartition(".")
    monkeypatch.setattr(eval(owner), name, full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(saved.parent / "step-000600", tensors=TENSORS, meta=META, train_state=TRAIN)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    assert load_checkpoint(saved).meta == META
    assert module.FORMAT_VERSION == 1


def test_random_streams_are_repeatable_and_different():
    def draw(*key):
        return torch.rand(4, generator=generator_for(*key)).tolist()

    assert draw(3, 7) == draw(3, 7)
    keys = [(3,), (3, 0), (3, 0, 0), (3, 7), (7, 3), (3, 7, 1), (4, 7), (3, 2**40)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_devices_are_resolved_or_refused_with_a_reason():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cuda", "mps", "cpu")
    with pytest.raises(FlexPoseError, match="Unknown device 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(FlexPoseError, match="only cpu, cuda and mps"):
        resolve_device("meta")
    with pytest.raises(FlexPoseError, match="'cuda:99' cannot be used: "):
        resolve_device("cuda:99")
    assert device_lines()[0].startswith("cpu")


def test_prepare_sets_threads_and_flushes_denormals():
    before = torch.get_num_threads()
    try:
        prepare(torch.device("cpu"), threads=1)
        assert torch.get_num_threads() == 1
        assert float(torch.tensor(1e-39) * 0.5) == 0
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def test_out_of_memory_gets_our_name():
    with pytest.raises(DeviceMemoryError, match="batch_size"), translate_out_of_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")
    with pytest.raises(RuntimeError, match="other"), translate_out_of_memory():
        raise RuntimeError("other")
