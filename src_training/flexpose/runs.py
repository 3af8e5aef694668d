"""Run directories: what a job leaves on disk, and how processes find each other's runs."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from flexpose import __version__
from flexpose.configs.base import ConfigBase, dump_config
from flexpose.errors import ConfigError, DataFormatError

_FILES = ("config.yaml", "env.json", "process.json", "events.jsonl", "log.txt", "cancel", "stop")
_FOLDERS = ("previews", "checkpoints")
_PACKAGES = ("numpy", "torch", "scipy", "pydantic", "safetensors", "opencv-python-headless")


@dataclass(frozen=True)
class RunDir:
    """The folder of one run.

    Holds ``config.yaml`` (as validated), ``env.json`` (versions, command line, commit),
    ``process.json`` (pid, host), ``events.jsonl``, ``previews/`` and ``checkpoints/``. A file
    ``cancel`` or ``stop`` in it asks the job to end.
    """

    path: Path

    @staticmethod
    def create(
        name: str, out: Path | None = None, *, root: Path = Path("runs"), overwrite: bool = False
    ) -> RunDir:
        """Make the folder: ``out``, or the next free ``<root>/<name>-0001``.

        ``overwrite`` removes what a former run left in ``out`` and nothing else.

        Raises
        ------
        ConfigError : ``out`` is not empty, or is not a run that could be overwritten.
        """
        if out is None:
            return RunDir(_own_folder(root, name))
        out = out.absolute()
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file, expected a folder.", "Name another --out.")
        if out.is_dir() and any(out.iterdir()):
            if not overwrite:
                raise ConfigError(
                    f"The folder {out} is not empty.",
                    "Name another --out, or use --resume to go on or --overwrite to start anew.",
                )
            if not (out / "process.json").is_file():
                raise ConfigError(
                    f"The folder {out} is not a run, so it is not overwritten.",
                    "Name another --out.",
                )
            _remove_former(out)
        out.mkdir(parents=True, exist_ok=True)
        return RunDir(out)

    @staticmethod
    def open(path: Path) -> RunDir:
        """Open an existing run, to resume or to follow.

        Raises
        ------
        ConfigError : the folder has no ``config.yaml``.
        """
        run = RunDir(path.absolute())
        if not run.config_file.is_file():
            raise ConfigError(f"{path} holds no config.yaml, so it is not a run.")
        return run

    @property
    def config_file(self) -> Path:
        """Settings of the run, as validated."""
        return self.path / "config.yaml"

    @property
    def events_file(self) -> Path:
        """What happened so far, one event a line."""
        return self.path / "events.jsonl"

    @property
    def log_file(self) -> Path:
        """Stderr of a child process, written by whoever starts one."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints and of ``latest``."""
        return self.path / "checkpoints"

    def begin(self, config: ConfigBase) -> None:
        """Write what describes this run and process, before the first step.

        Requests to end that an earlier process left behind are withdrawn, those for this one stay.
        """
        process = self.process()
        if not (process.get("starting") and process["pid"] == os.getpid()):
            self.withdraw_requests()
        dump_config(config, self.config_file)
        _write_json(self.path / "env.json", _environment(config))
        self._write_process(os.getpid(), starting=False)

    def announce(self, pid: int) -> None:
        """Say which process will `begin` this run; by the one that has just started it."""
        self._write_process(pid, starting=True)

    def _write_process(self, pid: int, *, starting: bool) -> None:
        process = {
            "pid": pid,
            "host": socket.gethostname(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "born": _born(pid),
            "starting": starting,
            # terminal events before this byte belong to earlier processes of a resumed run
            "events_from": _whole_lines(self.events_file),
        }
        _write_json(self.path / "process.json", process)

    def process(self) -> dict[str, Any]:
        """``process.json``; empty when no process has begun this run yet.

        Raises
        ------
        DataFormatError : the file is not JSON.
        """
        path = self.path / "process.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DataFormatError(path, "", f"is not JSON ({error})") from error

    def process_alive(self) -> bool:
        """Whether the process of the run still lives; taken for granted on another host."""
        process = self.process()
        if process.get("host") != socket.gethostname():
            return True
        pid, born = int(process["pid"]), process.get("born")
        return _alive(pid) and (born is None or born == _born(pid))

    def request_cancel(self, *, keep: bool = False) -> None:
        """Ask the job, in whatever process: cancel, or with ``keep`` stop early and finish."""
        (self.path / ("stop" if keep else "cancel")).touch()

    def withdraw_requests(self) -> None:
        """Let the run go on that was asked to end."""
        for name in ("cancel", "stop"):
            (self.path / name).unlink(missing_ok=True)


def _whole_lines(path: Path) -> int:
    """Cut a line that a dead process left unfinished; the file's length in bytes."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
        return file.seek(0, os.SEEK_END)


def numbered(folder: Path, name: str, suffix: str = "") -> Path:
    """The next ``<folder>/<name>-0001<suffix>``, after the highest there; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = [
        entry.name.removeprefix(f"{name}-").removesuffix(suffix)
        for entry in folder.glob(f"{name}-*{suffix}")
    ]
    number = max((int(tail) for tail in taken if tail.isdecimal()), default=0)
    return folder / f"{name}-{number + 1:04d}{suffix}"


def _own_folder(root: Path, name: str) -> Path:
    while True:  # two processes may start at the same moment
        path = numbered(root.absolute(), name)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def _remove_former(path: Path) -> None:
    for name in _FILES:
        (path / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        if (path / name).is_dir():
            shutil.rmtree(path / name)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _environment(config: ConfigBase) -> dict[str, Any]:
    return {
        "versions": package_versions(),
        "platform": platform.platform(),
        "device": getattr(config, "device", None),
        "command": sys.argv,
        "commit": _commit(),
    }


def package_versions() -> dict[str, str]:
    """Installed versions of what a result may depend on, read without importing it."""
    versions = {"flexpose": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _commit() -> str | None:
    """Git commit of the checkout this package runs from, None when it is installed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _born(pid: int) -> int | None:
    """When a process began, in the system's ticks; None where only Linux could say.

    Process ids are used again: in a container, the next start has the same few.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])  # the name in brackets may hold anything


def _alive(pid: int) -> bool:
    if sys.platform == "win32":  # os.kill would send it a signal there
        handle = ctypes.windll.kernel32.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
        running = bool(handle) and ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == 0x102
        ctypes.windll.kernel32.CloseHandle(handle)
        return running
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
