"""Finds and loads `heliostat.toml`, with overrides from the environment."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliostat.config.errors import ConfigError
from heliostat.config.schema import Config
from heliostat.config.toml import read_toml, validate
from heliostat.model.tree import is_remote

CONFIG_VARIABLE = "HELIOSTAT_CONFIG"
OVERRIDE_PREFIX = "HELIOSTAT_"
EDGE_PATHS = (
    "tls_certificate",
    "tls_key",
    "watch_ca",
    "access_log",
    "source_ca",
    "root",
    "installed_state",
    "report_ca",
)
MANAGER_PATHS = ("report_tls_certificate", "report_tls_key")
DEFAULT_PATHS = (Path("heliostat.toml"), Path("/etc/heliostat/heliostat.toml"))


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and the file it came from; every path in it is absolute."""

    path: Path
    config: Config

    @property
    def data_dir(self) -> Path:
        return self.config.data_dir


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """The file to use: `--config`, then HELIOSTAT_CONFIG, ./heliostat.toml, /etc/heliostat.

    Raises:
        ConfigError: none of them is there.
    """
    if explicit is not None:
        return explicit
    if named := environ.get(CONFIG_VARIABLE):
        return Path(named)
    for path in DEFAULT_PATHS:
        # a current folder that may not be entered (root's, for runuser) has no configuration
        with contextlib.suppress(PermissionError):
            if path.exists():  # a folder, too: reading it says what is wrong
                return path
    raise ConfigError(
        DEFAULT_PATHS[0],
        f"no configuration here nor at {DEFAULT_PATHS[1]}; `heliostat tree add NAME ROOT` starts"
        " one, or name yours with --config",
    )


def load_config(path: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """The configuration at `path`; `HELIOSTAT_SECTION__KEY` overrides a setting.

    Raises:
        ConfigError: missing, unreadable, malformed, unknown key, value out of its limits.
    """
    data, lines = read_toml(path)
    overrides = _overrides(environ)
    for variable, (section, key, value) in overrides.items():
        target = data.setdefault(section, {}) if section else data
        if not isinstance(target, dict):
            raise ConfigError(
                f"environment variable {variable}",
                f'"{section}" is no section with keys; set it in {path}',
            )
        target[key] = value
    try:
        config = validate(path, data, lines, Config)
    except ConfigError as error:
        for variable, (section, key, _) in overrides.items():
            dotted = (
                (f'"{section}.{key}"', f'unknown key "{section}"') if section else (f'"{key}"',)
            )
            if any(name in error.reason for name in dotted):
                text = error.reason
                raise ConfigError(f"environment variable {variable}", text) from None
        raise
    return LoadedConfig(path.resolve(), _absolute(config, path))


def _absolute(config: Config, path: Path) -> Config:
    base = path.resolve().parent

    def absolute(value: str | Path) -> Path:
        try:
            return base / Path(value).expanduser()
        except RuntimeError:
            raise ConfigError(path, f'"{value}": there is no such user') from None

    trees = [
        tree.model_copy(update={"root": str(absolute(tree.root))})
        if not is_remote(tree.root)
        else tree
        for tree in config.trees
    ]
    geo = [source.model_copy(update={"path": absolute(source.path)}) for source in config.geo]
    paths = {
        key: absolute(value)
        for key in EDGE_PATHS
        if (value := getattr(config.edge, key)) is not None
    }
    edge = config.edge.model_copy(update=paths)
    manager_paths = {
        key: absolute(value)
        for key in MANAGER_PATHS
        if (value := getattr(config.manager, key)) is not None
    }
    manager = config.manager.model_copy(
        update={
            **manager_paths,
            "publish_to": [
                where if is_remote(where) else str(absolute(where))
                for where in config.manager.publish_to
            ],
        }
    )
    dns_paths = {
        key: absolute(value)
        for key in ("health_ca", "api_key_file")
        if (value := getattr(config.dns, key)) is not None
    }
    probe = config.probe
    if probe.ca is not None:
        probe = probe.model_copy(update={"ca": absolute(probe.ca)})
    return config.model_copy(
        update={
            "data_dir": absolute(config.data_dir),
            "manager": manager,
            "dns": config.dns.model_copy(update=dns_paths),
            "probe": probe,
            "edge": edge,
            "trees": trees,
            "geo": geo,
        }
    )


def _overrides(environ: Mapping[str, str]) -> dict[str, tuple[str, str, Any]]:
    """{variable: (section, key, value)}; a value is read as TOML, or else taken as a string."""
    found: dict[str, tuple[str, str, Any]] = {}
    for variable, text in environ.items():
        if variable == CONFIG_VARIABLE or not variable.startswith(OVERRIDE_PREFIX):
            continue
        name = variable.removeprefix(OVERRIDE_PREFIX).lower()
        section, separator, key = name.partition("__")
        if separator:
            found[variable] = (section, key, _value(text))
        elif name == "data_dir":
            found[variable] = ("", name, text)
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
