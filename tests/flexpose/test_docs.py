"""The documentation: nothing is left out, and what it tells people to type exists."""

from __future__ import annotations

import contextlib
import io
import pkgutil
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from flexpose.cli.options import Options, parse
from flexpose.commands import COMMANDS, find_command, resolve
from flexpose.configs.base import ConfigBase
from flexpose.io import formats
from flexpose.shipped import shipped_priors
from flexpose.skeleton import skeleton_names

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}

_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_FORM = re.compile(r"<[a-z]|\[-|\.\.\.|…|COMMAND")  # ``flexpose-train <command> [--config F]``
_END = {"|", "||", "&&", ";", "&", ">", ">>", "2>"}


def shell_lines(text, program):
    """Command lines of a program in the fenced blocks of a page, continued lines joined."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            bare = line.strip().removeprefix("$ ")
            # as `.venv/bin/flexpose-train` too
            if Path(bare.partition(" ")[0]).name == program and not _FORM.search(bare):
                yield bare


def spans(text, program):
    """Inline code of a page that starts with a program."""
    for span in _SPAN.findall(_BLOCK.sub("", text)):
        if span.split()[:1] == [program] and not _FORM.search(span):
            yield span


def cases(find, program):
    return [
        pytest.param(found, id=f"{page}: {found}")
        for page, text in TEXTS.items()
        for found in dict.fromkeys(find(text, program))
    ]


def words_of(line):
    """Arguments of a command line up to a pipe, redirection or comment."""
    words = shlex.split(line, comments=True)[1:]
    return words[: next((i for i, word in enumerate(words) if word in _END), len(words))]


def split_command(words):
    """The row of `COMMANDS` that a line names, and what follows."""
    two = " ".join(words[:2])
    if any(command.name == two for command in COMMANDS):
        return find_command(two), words[2:]
    return find_command(words[0]), words[1:]


def flags_of(cls, prefix=""):
    """Flags of a config class, those of nested configs and of all their kinds too."""
    for name, info in cls.model_fields.items():
        yield f"--{prefix}{name}".replace("_", "-")
        for option in (info.annotation, *get_args(info.annotation)):
            if isinstance(option, type) and issubclass(option, ConfigBase):
                yield from flags_of(option, f"{prefix}{name}.")


def check_flags(words):
    """Every flag is a shared option or a setting of the command."""
    command, rest = split_command(words)
    known = {f"--{name}".replace("_", "-") for name in Options.__dataclass_fields__}
    known |= set(flags_of(resolve(command.config))) | {"-h", "--help"}
    for word in rest:
        flag = word.partition("=")[0].replace("_", "-")
        if flag.startswith("-") and not re.fullmatch(r"-[\d.]+", flag):
            positive = re.sub(r"^--(.*\.)?no-", r"--\1", flag)
            assert flag in known or positive in known, f"{command.name} has no {flag}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_has_its_place(command):
    forms = (f"flexpose-train {command.name}", f"`{command.name}`")
    assert any(form in text for text in TEXTS.values() for form in forms)


def first_cells(page):
    """Names in the first column of the tables of a page."""
    rows = re.findall(r"^\|([^|]*)\|", TEXTS[page], re.MULTILINE)
    return {name for cell in rows for name in _SPAN.findall(cell)}


@pytest.mark.parametrize("name", formats())
def test_each_format_has_its_row(name):
    assert name in first_cells("docs/data-formats.md")


@pytest.mark.parametrize("name", skeleton_names())
def test_each_skeleton_has_its_row(name):
    assert name in first_cells("docs/conventions.md")


@pytest.mark.parametrize("name", shipped_priors())
def test_each_prior_has_its_place(name):
    assert any(f"`{name}`" in text for text in TEXTS.values())


@pytest.mark.parametrize("line", cases(shell_lines, "flexpose-train"))
def test_command_lines_in_blocks_parse(line, tmp_path, monkeypatch):
    words = words_of(line)
    if not words or words[0] in ("-h", "--help"):
        return
    check_flags(words)
    if {"--help", "--resume"} & set(words):
        return
    command, rest = split_command(words)
    if "--config" in rest:
        at = rest.index("--config") + 1
        if Path(rest[at]).suffix:  # a file, not a preset
            rest[at] = str(ROOT / rest[at])
            if not Path(rest[at]).is_file():
                return  # the reader's own; it may hold what the line leaves out
    monkeypatch.chdir(tmp_path)  # parsing must find nothing to lean on
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            parse(command, rest)
        except SystemExit:
            pytest.fail(f"{line}\n{told.getvalue()}")


@pytest.mark.parametrize("line", cases(spans, "flexpose-train"))
def test_commands_in_running_text_exist(line):
    words = words_of(line)
    if words and not words[0].startswith("-"):
        check_flags(words)


@pytest.mark.parametrize("line", [*cases(shell_lines, "make"), *cases(spans, "make")])
def test_make_targets_exist(line):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words_of(line):
        if "=" not in word and not word.startswith("-"):
            assert re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page):
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path = target.partition("#")[0]
        if path and ":" not in path:
            assert (page.parent / path).exists(), target


def test_the_checks_above_see_mistakes():
    block = "```sh\n$ flexpose-train sample --model m \\\n  --n 3 | tail  # few\n```\n"
    (line,) = shell_lines(block, "flexpose-train")
    assert words_of(line) == ["sample", "--model", "m", "--n", "3"]
    check_flags(words_of(line))
    with pytest.raises(AssertionError, match="--sise"):
        check_flags(["sample", "--sise", "3"])
    assert list(spans("`flexpose-train <command>`, `flexpose-train info`", "flexpose-train")) == [
        "flexpose-train info"
    ]


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            span
            for page in ("docs/architecture.md", "docs/conventions.md", "docs/development.md")
            for span in _SPAN.findall(_BLOCK.sub("", TEXTS[page]))
            if re.fullmatch(r"flexpose(\.\w+)+", span)
        }
    ),
)
def test_names_of_the_code_in_our_pages_exist(name):
    pkgutil.resolve_name(name)
