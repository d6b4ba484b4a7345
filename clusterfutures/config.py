"""What is set for all programs: files, environment and profiles, in layers.

    built in < site file < user file < environment < profile < call
                  |            |           |            |
       /etc/clusterfutures   ~/.config/   CLUSTERFUTURES_MEMORY   [profile.large] of either file;
       /config.toml          clusterfutures/                      the user's wins key by key;
                             config.toml                          every profile inherits ``default``

    memory = "2GB"             # at the top: for all jobs
    [profile.default]          # where no profile is named, and under every other one
    time = "1:00:00"
    [profile.large]
    cores = 16
    inherits = "other"         # instead of default

The keys are those of an executor and its resources, with the same synonyms, types and units
(``keywords.KEYWORDS``, ``schedulers.options.OPTIONS``).  A key or value that is wrong raises
OptionError, with file, line and the nearest right name.

For other modules: ``load()`` reads all layers once; ``Configuration.options(profile)``
is what an executor, job or command starts from; its own arguments win over it;
``Configuration.settings(profile)`` says for each where it comes from (``config show``);
``problems()`` finds everything wrong at once (``config check``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clusterfutures.errors import OptionError
from clusterfutures.options import config_file
from clusterfutures.options import table as keywords
from clusterfutures.options.places import absolute
from clusterfutures.schedulers import options

__all__ = [
    "SETTINGS", "Configuration", "Setting", "delete_profile", "fits", "get_option", "get_profile", "get_profiles",
    "load", "problems", "set_option", "set_profile", "site_file", "user_file",
]  # fmt: skip

_PREFIX = "CLUSTERFUTURES_"
#: variables with this prefix that are no settings: the job's own, and where files are
_NO_SETTINGS = frozenset({"INDEX", "JOB_ID", "JOB_END", "ATTEMPT", "PROFILE", "CONFIG", "SITE_CONFIG"})
_INHERITS = "inherits"


#: what may be set besides resources
SETTINGS: dict[str, keywords.Keyword] = {row.name: row for row in keywords.KEYWORDS if row.name != "dependencies"}
#: a variable that is older than this module
_OLD_VARIABLES = {"dir": "directory"}


def _canonical(key: str) -> str | None:
    word = keywords.find(key)
    if word is not None and word.name in SETTINGS:
        return word.name
    row = options.find(key)
    return row.name if row is not None else None


def _checked(key: str, value: Any, where: str) -> tuple[str, Any]:
    """The setting's own name, and its value as it is kept.  Raises OptionError."""
    name = _canonical(key)
    if name is None:
        raise OptionError(f"{where}: there is no setting {key!r}: {_instead(key)}")
    try:
        if name in SETTINGS:
            return name, keywords.read(SETTINGS[name], key, value)
        options.normalise({key: value})
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from None
    return name, value  # a resource keeps the user's words: its units are read once, with the call's


def fits(name: str, value: Any) -> bool:
    """True when ``value`` can be a setting's."""
    try:
        _checked(name, value, "")
    except OptionError:
        return False
    return True


def _known() -> list[str]:
    return [*SETTINGS, *(name for row in SETTINGS.values() for name in row.synonyms), *options.names(), _INHERITS]


def _instead(name: str) -> str:
    """What to write in the place of a name that is no setting."""
    from clusterfutures.schedulers import misspelt

    return misspelt.advice(name, _known())


# ---------------------------------------------------------------------------- layers


class Setting(NamedTuple):
    """A value and where it was set: ``/home/me/.config/...:3``, ``$CLUSTERFUTURES_TIME``."""

    value: Any
    source: str


@dataclass(frozen=True)
class Configuration:
    """All layers as they were read; see the module.

    common: what holds for all jobs, higher layers first applied over lower ones.
    profiles: each profile's own settings, not those it inherits.
    chosen: the profile that the environment names ($CLUSTERFUTURES_PROFILE), or None.
    """

    common: Mapping[str, Setting] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    chosen: str | None = None

    def settings(self, profile: str | None = None) -> dict[str, Setting]:
        """What holds under ``profile`` (None: the environment's, else ``default``), each
        with its source.  Raises OptionError for a profile that does not exist."""
        merged = dict(self.common)
        for name in reversed(self._line(profile)):
            own = self.profiles[name]
            merged.update({key: setting for key, setting in own.items() if key != _INHERITS})
        return merged

    def options(self, profile: str | None = None) -> dict[str, Any]:
        """``settings`` without the sources: keywords to start from."""
        return {key: setting.value for key, setting in self.settings(profile).items()}

    def _line(self, profile: str | None) -> list[str]:
        """The profile, the one it inherits, and so on."""
        name = profile or self.chosen or "default"
        if name == "default" and name not in self.profiles:
            return []
        line: list[str] = []
        heir = ""
        while name not in line:
            if name not in self.profiles:
                where = f"{self.profiles[heir][_INHERITS].source}: " if heir else ""
                raise OptionError(f"{where}there is no profile {name!r}. {_profiles_hint(name, list(self.profiles))}")
            line.append(name)
            parent = self.profiles[name].get(_INHERITS)
            if parent is None and (name == "default" or "default" not in self.profiles):
                return line
            heir, name = name, parent.value if parent is not None else "default"
        raise OptionError(f"the profiles inherit each other in a ring: {' -> '.join([*line, name])}")


def _profiles_hint(name: str, known: list[str]) -> str:
    if known:
        import difflib

        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
    return f"Write one: [profile.{name}] in {user_file()}"


def user_file(environ: Mapping[str, str] = os.environ) -> str:
    """The user's file: ``$CLUSTERFUTURES_CONFIG``, or ``clusterfutures/config.toml`` in
    ``$XDG_CONFIG_HOME`` (``~/.config``).  It need not exist; "" for a user without a home directory."""
    if named := environ.get(f"{_PREFIX}CONFIG"):
        return absolute(named, "Set CLUSTERFUTURES_CONFIG to an absolute path.")
    home = environ.get("XDG_CONFIG_HOME", "")
    try:
        base = home if os.path.isabs(home) else absolute("~/.config", "Set CLUSTERFUTURES_CONFIG to a file of yours.")
    except OptionError:
        return ""  # without a home directory there is no such file
    return os.path.join(base, "clusterfutures", "config.toml")


def site_file(environ: Mapping[str, str] = os.environ) -> str:
    """The site's file: ``$CLUSTERFUTURES_SITE_CONFIG`` or ``/etc/clusterfutures/config.toml``."""
    return environ.get(f"{_PREFIX}SITE_CONFIG") or "/etc/clusterfutures/config.toml"


def load(environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read site file, user file and environment.  Raises OptionError for the first thing
    that is wrong in them."""
    wrong: list[OptionError] = []
    configuration = _read(environ, wrong)
    if wrong:
        raise wrong[0]
    return configuration


def problems(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return all mistakes in the files and the environment, one text each; empty when there is none."""
    wrong: list[OptionError] = []
    configuration = _read(environ, wrong)
    for profile in configuration.profiles:
        try:
            options.normalise(_resources(configuration.options(profile)))
        except OptionError as error:
            wrong.append(error)
    return [str(error) for error in wrong]


def _resources(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keywords.items() if key not in SETTINGS}


def _read(environ: Mapping[str, str], wrong: list[OptionError]) -> Configuration:
    common: dict[str, Setting] = {}
    profiles: dict[str, dict[str, Setting]] = {}
    for path in (site_file(environ), user_file(environ)):
        try:
            data, text = config_file.read(path)
        except OptionError as error:
            wrong.append(error)
            continue
        tables = data.pop("profile", {})
        common.update(_settings(path, text, (), data, wrong))
        if not isinstance(tables, dict):
            wrong.append(OptionError(f"{path}:{config_file.line_of(text, (), 'profile')}: write [profile.NAME]"))
            continue
        for name, table in tables.items():
            if not isinstance(table, dict):
                line = config_file.line_of(text, ("profile",), name)
                wrong.append(OptionError(f"{path}:{line}: a profile is a table: write [profile.NAME] above {name}"))
                continue
            profiles.setdefault(name, {}).update(_settings(path, text, ("profile", name), table, wrong))
    common.update(_from_environment(environ, wrong))
    return Configuration(common, profiles, environ.get(f"{_PREFIX}PROFILE") or None)


def _settings(
    path: str, text: str, table: tuple[str, ...], data: Mapping[str, Any], wrong: list[OptionError]
) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for key, value in data.items():
        where = f"{path}:{config_file.line_of(text, table, key)}"
        if key == _INHERITS and table and isinstance(value, str):
            found[key] = Setting(value, where)
            continue
        try:
            name, kept = _checked(key, value, where)
            if name in found:
                raise OptionError(f"{where}: {key} is {name}, which is set already at {found[name].source}")
        except OptionError as error:
            wrong.append(error)
            continue
        found[name] = Setting(kept, where)
    return found


def _from_environment(environ: Mapping[str, str], wrong: list[OptionError]) -> dict[str, Setting]:
    """Return the variables that are named like a setting.  Others with our prefix are left alone: sites
    and programs have variables of their own."""
    found: dict[str, Setting] = {}
    in_a_job = f"{_PREFIX}JOB_ID" in environ  # where CLUSTERFUTURES_CORES is what the job was given
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or not text:
            continue
        word = variable.removeprefix(_PREFIX)
        key = _OLD_VARIABLES.get(word.lower(), word.lower())
        row = keywords.find(key)
        is_known = key in SETTINGS if row is not None else _canonical(key) is not None
        if word in _NO_SETTINGS or (in_a_job and word == "CORES") or not is_known or key == "env":
            continue
        try:
            name, value = _checked(key, text, f"${variable}")
        except OptionError as error:
            wrong.append(error)
            continue
        found[name] = Setting(value, f"${variable}")
    return found


# --------------------------------------------------------------- for programs and people


def get_option(name: str, default: Any = None, *, profile: str | None = None) -> Any:
    """Return the value of one setting, or ``default`` when it is not set.

    profile: name of a profile; None: the environment's, else ``default``.
    """
    return load().options(profile).get(_canonical(name) or name, default)


def set_option(name: str, value: Any, *, profile: str | None = None) -> None:
    """Set ``name`` in the user's file, at the top or in ``profile``; None removes it.

    Raises OptionError for a name or value that is wrong; the file is then as it was.
    """
    table = ("profile", profile) if profile else ()
    if value is not None and not (profile and name == _INHERITS):
        name, _ = _checked(name, value, "not written")
    there = _spelt_there(table, name)
    if there is None and value is None:
        if _canonical(name) is None and name != _INHERITS:
            raise OptionError(f"there is no setting {name!r}: {_instead(name)}")
        return
    config_file.change(user_file(), table, there or name, value)


def _spelt_there(table: tuple[str, ...], name: str) -> str | None:
    """The setting as it is called in the user's file already; None when it is not there."""
    inner, _ = config_file.read(user_file())
    for part in table:
        inner = inner.get(part, {}) if isinstance(inner, dict) else {}
    there = inner if isinstance(inner, dict) else {}
    meant = _canonical(name) or name
    return next((key for key in there if key == name or _canonical(key) == meant), None)


def get_profiles() -> dict[str, dict[str, Any]]:
    """Return all profiles by name, each with the settings that it inherits."""
    configuration = load()
    return {name: _inherited(configuration, name) for name in configuration.profiles}


def get_profile(name: str = "default") -> dict[str, Any]:
    """Return the settings of one profile, inherited ones included.  Raises OptionError for an unknown profile."""
    return _inherited(load(), name)


def _inherited(configuration: Configuration, name: str) -> dict[str, Any]:
    return Configuration({}, configuration.profiles).options(name)


def set_profile(name: str, /, **settings: Any) -> None:
    """Set these settings in the user's profile ``name``; make the profile when there is none.

    All are checked before the first is written.  Raises OptionError.
    """
    for key, value in settings.items():
        if value is not None and key != _INHERITS:
            _checked(key, value, "not written")
    for key, value in settings.items():
        set_option(key, value, profile=name)


def delete_profile(name: str) -> None:
    """Remove the user's profile ``name``.  Raises OptionError when the user's file has none."""
    data, _ = config_file.read(user_file())
    mine = list(data.get("profile", {}))
    if name not in mine:
        raise OptionError(f"{user_file()} has no profile {name!r}. {_profiles_hint(name, mine)}")
    config_file.change(user_file(), ("profile", name), "", None)
