"""``config``, ``profile`` and ``options``: what is set for all jobs, and what may be set."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from clusterfutures import config
from clusterfutures.cli.showing import as_json, columns
from clusterfutures.commandline.words import Taken
from clusterfutures.errors import OptionError
from clusterfutures.options.table import option_help, option_table

__all__ = ["config_command", "options_command", "profile_command"]


def config_command(taken: Taken) -> int:
    """``clusterfutures config``."""
    return _action("config", _CONFIG, taken)


def profile_command(taken: Taken) -> int:
    """``clusterfutures profile``."""
    return _action("profile", _PROFILE, taken)


def options_command(taken: Taken) -> int:
    """``clusterfutures options``."""
    if taken.positional:
        raise OptionError(f"the command line: {taken.positional[0]!r} is no option of this command")
    scheduler = taken.options.get("scheduler")
    if taken.options.get("json"):
        head, *rows = option_table(scheduler)
        as_json([dict(zip(head, row, strict=True)) for row in rows])
    else:
        print(option_help(scheduler))
    return 0


_Action = Callable[[list[str], dict[str, Any]], int]


def _action(command: str, actions: Mapping[str, tuple[str, int, int, _Action]], taken: Taken) -> int:
    """Find the action named first, check how many words follow, do it."""
    usage = "; ".join(f"{command} {name} {words}".rstrip() for name, (words, *_) in actions.items())
    words = [*taken.positional, *taken.rest]
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name not in actions:
        raise OptionError(f"{f'there is no {command} {name}' if name else f'{command} what'}? There are: {usage}")
    spelt, least, most, act = actions[name]
    if not least <= len(rest) <= most:
        raise OptionError(f"expected: clusterfutures {command} {name} {spelt}".rstrip())
    return act(rest, taken.options)


def _value(name: str, text: str) -> Any:
    """A value as TOML has it, where that is a number, a truth, a list or a table; else the text, and also where
    the setting wants that: an account may be 12345."""
    import tomllib

    try:
        found = tomllib.loads(f"x = {text}")["x"] if "\n" not in text else text
    except tomllib.TOMLDecodeError:
        return text
    is_typed = isinstance(found, int | float | bool | list | dict)
    return found if is_typed and (config.fits(name, found) or not config.fits(name, text)) else text


# ------------------------------------------------------------------------------- config


def _show(_words: list[str], options: dict[str, Any]) -> int:
    settings = config.load().settings(options.get("profile"))
    if options.get("json"):
        as_json({name: {"value": setting.value, "source": setting.source} for name, setting in settings.items()})
    elif settings:
        columns(("SETTING", "VALUE", "SET IN"), [(name, str(one.value), one.source) for name, one in settings.items()])
    else:
        print(f"nothing is set; your file would be {config.user_file()}")
    return 0


def _set(words: list[str], options: dict[str, Any]) -> int:
    name, value = words
    config.set_option(name, _value(name, value), profile=options.get("profile"))
    return _show([], options) if options.get("json") else 0


def _unset(words: list[str], options: dict[str, Any]) -> int:
    config.set_option(words[0], None, profile=options.get("profile"))
    return _show([], options) if options.get("json") else 0


def _path(_words: list[str], options: dict[str, Any]) -> int:
    paths = {"user": config.user_file(), "site": config.site_file()}
    if options.get("json"):
        as_json(paths)
    else:
        print(paths["user"])
    return 0


def _check(_words: list[str], options: dict[str, Any]) -> int:
    found = config.problems()
    if options.get("json"):
        as_json(found)
    elif found:
        print("\n".join(found))
    else:
        here = [path for path in (config.site_file(), config.user_file()) if os.path.exists(path)]
        print(f"no mistakes in {' and '.join(here)}" if here else "there are no configuration files")
    return 1 if found else 0


_CONFIG: dict[str, tuple[str, int, int, _Action]] = {
    "show": ("", 0, 0, _show),
    "set": ("NAME VALUE", 2, 2, _set),
    "unset": ("NAME", 1, 1, _unset),
    "path": ("", 0, 0, _path),
    "check": ("", 0, 0, _check),
}

# ----------------------------------------------------------------------------- profiles


def _profiles(_words: list[str], options: dict[str, Any]) -> int:
    found = config.get_profiles()
    if options.get("json"):
        as_json(found)
    elif found:
        columns(("PROFILE", "SETTINGS, WITH WHAT IT INHERITS"), [(name, _spelt(own)) for name, own in found.items()])
    else:
        print("there are no profiles: clusterfutures profile set large cores=16 memory=32GB makes one")
    return 0


def _spelt(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _show_profile(words: list[str], options: dict[str, Any]) -> int:
    found = config.get_profile(words[0])
    if options.get("json"):
        as_json(found)
    else:
        print("\n".join(f"{name} = {value}" for name, value in found.items()))
    return 0


def _set_profile(words: list[str], options: dict[str, Any]) -> int:
    name, *pairs = words
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise OptionError(f"{pair!r} is no KEY=VALUE, for example cores=16 (an empty value removes the key)")
        settings[key.replace("-", "_")] = _value(key.replace("-", "_"), value) if value else None
    config.set_profile(name, **settings)
    return _show_profile([name], options) if options.get("json") else 0


def _delete_profile(words: list[str], options: dict[str, Any]) -> int:
    config.delete_profile(words[0])
    return _profiles([], options) if options.get("json") else 0


_PROFILE: dict[str, tuple[str, int, int, _Action]] = {
    "list": ("", 0, 0, _profiles),
    "show": ("NAME", 1, 1, _show_profile),
    "set": ("NAME KEY=VALUE...", 2, 1000, _set_profile),
    "delete": ("NAME", 1, 1, _delete_profile),
}
