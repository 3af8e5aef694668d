"""Checkpoints: folders with safetensors weights, a JSON description and the state to go on from.

``weights.safetensors`` and ``meta.json`` are what a user of the model needs; ``train_state.pt``
(optimisers; tensors and plain containers only, no pickled code) is there to resume. A folder
appears under its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flexpose.errors import CheckpointError
from flexpose.runs import package_versions

FORMAT_VERSION = 1
_WEIGHTS, _META, _TRAIN = "weights.safetensors", "meta.json", "train_state.pt"


@dataclass(frozen=True, kw_only=True)
class CheckpointMeta:
    """What travels with weights.

    Attributes
    ----------
    kind : what the weights are of, such as ``prior``
    step : steps done
    skeleton, style : plain data of the skeleton and the drawing style the model was made for
    notes : one sentence each on the training data: what was read, mapped, kept and left out
    parent : ``{"path": ..., "sha256": ...}`` of the checkpoint this one builds on, or None
    config : plain data of the job's config
    metrics : last measured values by name
    licence : of the weights, as far as the training data bind them
    """

    kind: str
    skeleton: Mapping[str, Any]
    style: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    parent: Mapping[str, str] | None = None
    licence: str = ""
    notes: tuple[str, ...] = ()
    step: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=package_versions)
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint; tensors lie on the CPU. ``path`` is its folder."""

    path: Path
    tensors: dict[str, Tensor]
    meta: CheckpointMeta
    train_state: dict[str, Any] | None


def save_checkpoint(
    folder: Path,
    *,
    tensors: Mapping[str, Tensor],
    meta: CheckpointMeta,
    train_state: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint folder, all or nothing; returns ``folder``.

    Raises
    ------
    CheckpointError : the folder exists already, or cannot be written (a full disk).
    """
    if folder.exists():
        raise CheckpointError(f"{folder} exists already and is not overwritten.")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        # copies, since safetensors refuses tensors that share memory
        plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        save_file(plain, partial / _WEIGHTS)
        if train_state is not None:
            buffer = (
                io.BytesIO()
            )  # torch reports a full disk as a RuntimeError, write_bytes does not
            torch.save(dict(train_state), buffer)
            (partial / _TRAIN).write_bytes(buffer.getbuffer())
        text = json.dumps(asdict(meta), indent=2, ensure_ascii=False)
        (partial / _META).write_text(text + "\n", encoding="utf-8")
        os.replace(partial, folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"The checkpoint {folder} cannot be written ({error}).",
            "Earlier checkpoints are as they were; make room on the disk and resume.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def load_checkpoint(folder: Path, *, kind: str | None = None) -> Checkpoint:
    """Read a checkpoint from its folder, or the latest one from the folder of a run.

    Raises
    ------
    CheckpointError : a file is missing or damaged, or the version or the kind is another.
    """
    folder = find_checkpoint(folder)
    meta = _read_meta(folder)
    if kind is not None and meta.kind != kind:
        raise CheckpointError(f"{folder} is a checkpoint of kind {meta.kind!r}, expected {kind!r}.")
    if not (folder / _WEIGHTS).is_file():
        raise CheckpointError(f"{folder} lacks {_WEIGHTS}.", "Take another checkpoint.")
    try:
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder / _WEIGHTS} is damaged ({error}).", "Take another checkpoint."
        ) from error
    return Checkpoint(folder, tensors, meta, _read_train_state(folder / _TRAIN))


def find_checkpoint(path: Path) -> Path:
    """Find the checkpoint folder that a path means: itself, or the latest one of a run.

    Raises
    ------
    CheckpointError : it is neither.
    """
    if (path / _META).is_file():
        return path
    latest = latest_checkpoint(path / "checkpoints")
    if latest is None:
        raise CheckpointError(
            f"{path} is neither a checkpoint (no {_META}) nor a run with checkpoints."
        )
    return latest


def latest_checkpoint(checkpoints: Path) -> Path | None:
    """Folder that ``<checkpoints>/latest`` names; None before the first checkpoint.

    Raises
    ------
    CheckpointError : the named folder is not there.
    """
    marker = checkpoints / "latest"
    if not marker.is_file():
        return None
    folder = checkpoints / marker.read_text(encoding="utf-8").strip()
    if not (folder / _META).is_file():
        raise CheckpointError(f"{marker} names {folder.name!r}, which is not a checkpoint.")
    return folder


def mark_latest(folder: Path) -> None:
    """Let ``latest`` beside a checkpoint folder name it.

    Raises
    ------
    CheckpointError : the file cannot be written; it names the former checkpoint still.
    """
    partial = folder.with_name("latest.partial")
    try:
        partial.write_text(folder.name + "\n", encoding="utf-8")
        os.replace(partial, folder.with_name("latest"))
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"{folder.with_name('latest')} cannot be written ({error.strerror})."
        ) from error


def sha256_of(folder: Path) -> str:
    """Hex digest of a checkpoint's weights file: the identity of a parent.

    Raises
    ------
    CheckpointError : the path leads to no checkpoint with weights.
    """
    path = find_checkpoint(folder) / _WEIGHTS
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from error


def _read_meta(folder: Path) -> CheckpointMeta:
    path = folder / _META
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}).") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has checkpoint format {version}, this version reads {FORMAT_VERSION}.",
            "Use the version of napari-flexpose that wrote it, named under versions in meta.json.",
        )
    wanted = {item.name for item in fields(CheckpointMeta)}
    data["notes"] = tuple(data.get("notes", ()))  # not there in the first files of this format
    if set(data) != wanted:
        odd = ", ".join(sorted(set(data) ^ wanted))
        raise CheckpointError(f"{path} is damaged (missing or unknown: {odd}).")
    return CheckpointMeta(**data)


def _read_train_state(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged ({first_line}).") from error
