"""``flexpose-train``: every command of `flexpose.commands` in a terminal."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flexpose import commands
from flexpose.commands import Command, ToolResult, resolve
from flexpose.configs.base import ConfigBase, config_text
from flexpose.errors import ConfigError, FlexPoseError, UnknownNameError
from flexpose.events import JobCancelled, JobEvent, JobFailed, JobFinished

if TYPE_CHECKING:
    from flexpose.cli.options import Options

DONE, FAILED, USAGE, CANCELLED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code (0 done, 1 error, 2 usage, 130 cancelled)."""
    words = list(sys.argv[1:] if argv is None else argv)
    # torch's threads spin while they wait; on a busy machine that made steps 50 times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return DONE if words else USAGE
    try:
        command, rest = _split(words)
    except UnknownNameError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    try:
        return _run(command, rest)
    except FlexPoseError as error:
        return _report(error, traceback.format_exc() if "--debug" in rest else "")


def _overview() -> str:
    width = max(len(command.name) for command in commands.COMMANDS)
    rows = (f"  {command.name:{width}}  {command.help}\n" for command in commands.COMMANDS)
    return (
        "usage: flexpose-train <command> [--config F] [--out D] [--resume] [--overwrite]\n"
        "                      [--dry-run] [--progress bar|jsonl|none] [--debug] [settings]\n\n"
        f"commands:\n{''.join(rows)}\n"
        "flexpose-train <command> --help lists the settings of one command.\n"
    )


def _split(words: Sequence[str]) -> tuple[Command, list[str]]:
    """Take the command, whose name may have two words, from what follows."""
    two = " ".join(words[:2])
    if any(command.name == two for command in commands.COMMANDS):
        return commands.find_command(two), list(words[2:])
    return commands.find_command(words[0]), list(words[1:])


def _run(command: Command, words: Sequence[str]) -> int:
    from flexpose.cli.options import parse  # tyro is slow to import, the overview quick

    options, config = parse(command, words)
    if options.dry_run:
        sys.stdout.write(config_text(config))
        return DONE
    start = _run_job if command.is_job else _run_tool
    return start(command, options, config)


def _run_job(command: Command, options: Options, config: ConfigBase) -> int:
    from flexpose.cli.progress import progress_view
    from flexpose.jobs import CancelToken, cancel_on_interrupt, guarded, recorded
    from flexpose.runs import RunDir

    name = command.name.replace(" ", "-")
    if options.resume and options.out is not None:
        run = RunDir.open(options.out)
    elif command.writes_file:
        config = config.model_copy(update={"out": options.out, "overwrite": options.overwrite})
        run = RunDir.create(name)
    else:
        run = RunDir.create(name, options.out, overwrite=options.overwrite)
    run.begin(config)
    cancel = CancelToken(run)
    terminal: JobEvent | None = None
    with cancel_on_interrupt(cancel), progress_view(options.progress, run.path) as show:
        job = resolve(command.target)(config, run, cancel)
        for terminal in recorded(guarded(job), run):
            show(terminal)
    if isinstance(terminal, JobFailed):
        return _report(terminal.error, terminal.details if options.debug else "")
    if isinstance(terminal, JobCancelled):
        sys.stderr.write(f"Cancelled after step {terminal.step}. Go on with --resume.\n")
        return CANCELLED
    if isinstance(terminal, JobFinished) and options.progress != "jsonl":
        sys.stdout.write(f"{terminal.result if terminal.result is not None else run.path}\n")
    return DONE


def _run_tool(command: Command, options: Options, config: ConfigBase) -> int:
    out = options.out
    if out is not None and out.exists() and not options.overwrite:
        raise ConfigError(f"{out} exists already.", "Name another --out, or use --overwrite.")
    result: ToolResult = resolve(command.target)(config)
    if out is not None:
        from flexpose.io.base import atomic_write_text

        atomic_write_text(out, json.dumps(result.data, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(result.text.rstrip("\n") + "\n")
    return DONE if result.ok else FAILED


def _report(error: FlexPoseError, details: str) -> int:
    sys.stderr.write(details)
    sys.stderr.write(f"Error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"{error.hint}\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
