"""Configs: frozen pydantic models, read from YAML; refused with the place, value and bounds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from flexpose.errors import ConfigError, UnknownNameError

ConfigT = TypeVar("ConfigT", bound="ConfigBase")


class ConfigBase(BaseModel):
    """Base of all configs: frozen, and every key must be known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _offer_near_names(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    unknown = UnknownNameError("setting", str(key), cls.model_fields)
                    raise PydanticCustomError("unknown", "{text}", {"text": str(unknown)})
        return data

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Let each description start with its title, since command lines show only the former."""
        for info in cls.model_fields.values():
            title, text = info.title or "", info.description or ""
            if not text.startswith(title):
                info.description = f"{title}. {text}".removesuffix(". ") + ("" if text else ".")


class JobConfig(ConfigBase):
    """What every job has."""

    seed: int = Field(0, ge=0, title="Seed", description="Start of all randomness of the run.")
    device: str = Field(
        "auto",
        title="Device",
        description="auto (cuda, then mps, then cpu), cpu, cuda, cuda:1, mps.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        title="Threads",
        description="CPU threads of torch; its own choice when not set.",
    )


def load_config(
    cls: type[ConfigT], path: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> ConfigT:
    """Read a config from a YAML file, and top-level values that go before those of the file.

    Relative paths in the file count from its folder, those in ``overrides`` from the current one.

    Raises
    ------
    ConfigError : the file cannot be read, or a value is unknown, missing or out of bounds.
    """
    overrides = overrides or {}
    data = {} if path is None else read_values(path)
    try:
        config = cls.model_validate({**data, **overrides})
    except ValidationError as error:
        raise config_error(error, "" if path is None else f"{path}: ") from error
    if path is None:
        return config
    folder = path.absolute().parent
    resolved = {n: absolute(getattr(config, n), folder) for n in data if n not in overrides}
    return config.model_copy(update=resolved)


def read_values(path: Path) -> dict[str, Any]:
    """Read the settings in a YAML file, unchecked.

    Raises
    ------
    ConfigError : the file cannot be read or is no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The config {path} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The config {path} is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds a {type(data).__name__}, expected settings by name.")
    return data


def dump_config(config: ConfigBase, path: Path) -> None:
    """Write a config as YAML that `load_config` reads from any folder: paths become absolute."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(config_text(config), encoding="utf-8")
    os.replace(partial, path)


def config_text(config: ConfigBase) -> str:
    """YAML form of a config, with absolute paths."""
    values = absolute(config, Path.cwd(), every_field=True).model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def config_error(
    error: ValidationError, where: str = "", prefix: tuple[str | int, ...] = ()
) -> ConfigError:
    """Pydantic's first complaint in our words: dotted path, bounds, value found."""
    first = error.errors()[0]
    dotted = ".".join(str(part) for part in (*prefix, *first["loc"]))
    place = f"{where}{dotted}: " if dotted else where
    if first["type"] == "missing":
        return ConfigError(f"{place}a value is needed and none was given.")
    if first["type"] == "unknown":
        return ConfigError(f"{place}{first['msg']}")
    text = first["msg"][:1].lower() + first["msg"][1:]
    return ConfigError(f"{place}{text}, found {first['input']!r}.")


def absolute(value: Any, folder: Path, *, every_field: bool = False) -> Any:
    """``value`` with relative paths resolved against a folder, inside tuples and configs too.

    A text that names a model or folder counts as a path when it has a slash and something is
    there; ``body15`` stays a name.

    In a config, ``every_field=False`` leaves defaults alone: they are not the file's words.
    """
    if isinstance(value, Path):
        return value if value.is_absolute() else Path(os.path.normpath(folder / value))
    # os.path: of a text too long for a path Path.exists raises, this says no
    if isinstance(value, str) and "/" in value and os.path.exists(folder / value):
        return os.path.normpath(folder / value)
    if isinstance(value, (tuple, list)):
        return type(value)(absolute(item, folder, every_field=every_field) for item in value)
    if isinstance(value, ConfigBase):
        names = type(value).model_fields if every_field else value.model_fields_set
        changed = {n: absolute(getattr(value, n), folder, every_field=every_field) for n in names}
        return value.model_copy(update=changed)
    return value
