"""The command line of one command: options that all share, and its config, parsed by tyro."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from tyro.conf import AvoidSubcommands, FlagCreatePairsOff, OmitArgPrefixes, arg

from flexpose.cli.progress import ProgressKind
from flexpose.commands import Command, resolve
from flexpose.configs.base import ConfigBase, absolute, config_error, read_values
from flexpose.errors import ConfigError, UnknownNameError
from flexpose.shipped import preset


@dataclass(frozen=True)
class Options:
    """What every command understands.

    Attributes
    ----------
    config : YAML file with settings, or a preset's name; flags go before it
    out : run folder (else the next free one under runs/); of a quick command, a JSON report
    resume : go on with the run in --out, or begin one that has settings only
    overwrite : replace the run or report in --out
    dry_run : print the settings and stop
    progress : how to show the job
    debug : show the traceback of an error
    """

    config: Annotated[Path | None, arg(metavar="FILE")] = None
    out: Annotated[Path | None, arg(metavar="PATH")] = None
    resume: bool = False
    overwrite: bool = False
    dry_run: bool = False
    progress: ProgressKind = "bar"
    debug: bool = False


def parse(command: Command, argv: Sequence[str]) -> tuple[Options, ConfigBase]:
    """Options and config of a command line.

    The settings come from ``--config`` (with ``--resume``, from the run) and from single flags. A
    flag ``--<setting>.kind`` that names another kind than the file starts from its defaults.

    Raises
    ------
    ConfigError : the file or a value is refused.
    SystemExit : code 2 for a line that cannot be parsed, 0 after ``--help``.
    """
    config_class = resolve(command.config)
    # file and kinds are read first: they decide what the defaults of the other flags are
    options, rest = tyro.cli(
        Options,
        args=[word for word in argv if word not in ("-h", "--help")],
        return_unknown_args=True,
        add_help=False,
        config=(FlagCreatePairsOff,),
    )
    path = _settings_file(command, options)
    values = read_values(path) if path else {}
    for name, kind in _kinds(rest):
        if not isinstance(values.get(name), Mapping) or values[name].get("kind") != kind:
            values[name] = {"kind": kind}
    default = _partial(config_class, values, path)
    both = dataclasses.make_dataclass(
        "Both",
        [
            ("options", Annotated[Options, OmitArgPrefixes, FlagCreatePairsOff]),
            ("settings", Annotated[config_class, arg(name="")]),
        ],
    )
    try:
        parsed: Any = tyro.cli(
            both,
            args=list(argv),
            default=both(Options(), default),
            prog=f"flexpose-train {command.name}",
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            config=(AvoidSubcommands,),
        )
    except ValidationError as error:
        raise config_error(error) from error
    return parsed.options, parsed.settings


def _settings_file(command: Command, options: Options) -> Path | None:
    """The YAML file of settings: the user's, a shipped preset by its name, or a run's."""
    if not options.resume:
        if options.config is not None and not options.config.suffix:
            return preset(command.name, str(options.config))
        return options.config
    if options.out is None:
        raise ConfigError("--resume needs the folder of the run.", "Name it with --out.")
    return options.config or options.out / "config.yaml"


def _kinds(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """``--generator.kind image`` or ``--generator.kind=image`` as ("generator", "image")."""
    for word, following in itertools.pairwise([*words, ""]):
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag.endswith(".kind"):
            yield flag[2:-5].replace("-", "_"), value if equals else following


def _partial(
    cls: type[ConfigBase], values: Mapping[str, Any], path: Path | None, place: str = ""
) -> ConfigBase:
    """Config of checked values from a file, with tyro's mark where a required one lacks."""
    where = f"{path}: " if path else ""
    found: dict[str, Any] = {}
    for key in values:
        if key not in cls.model_fields:
            unknown = UnknownNameError("setting", f"{place}{key}", cls.model_fields)
            raise ConfigError(f"{where}{unknown.message}", unknown.hint)
    for name, info in cls.model_fields.items():
        value = values.get(name, {} if info.is_required() else None)
        nested = _nested_class(info, value, f"{where}{place}{name}")
        if nested is not None and isinstance(value, Mapping):
            found[name] = _partial(nested, value, path, f"{place}{name}.")
        elif name in values:
            adapter: TypeAdapter[Any] = TypeAdapter(_annotated(info))
            try:
                checked = adapter.validate_python(value)
            except ValidationError as error:
                raise config_error(error, f"{where}{place}", (name,)) from error
            found[name] = absolute(checked, path.absolute().parent) if path else checked
        elif info.is_required():
            found[name] = tyro.MISSING
    return cls.model_construct(**found)


def _annotated(info: FieldInfo) -> Any:
    return Annotated[info.annotation, info]


def _nested_class(info: FieldInfo, value: Any, where: str) -> type[ConfigBase] | None:
    """Config class of a field that holds one; by ``kind`` when there are several."""
    options = [
        option
        for option in (info.annotation, *get_args(info.annotation))
        if isinstance(option, type) and issubclass(option, ConfigBase)
    ]
    if len(options) < 2:
        return options[0] if options else None
    by_kind = {option.model_fields["kind"].default: option for option in options}
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind is None:
        return None
    if kind not in by_kind:
        unknown = UnknownNameError("kind", str(kind), by_kind)
        raise ConfigError(f"{where}: {unknown.message}", unknown.hint)
    return by_kind[kind]
