"""Finding the script, importing it once, and taking the function and its arguments from it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from clusterfutures.errors import OptionError

__all__ = ["arguments_of", "load", "path_of", "target_of"]


def path_of(script: str) -> str | None:
    """The file of ``script``, given with or without .py; None when only a module can be meant."""
    for path in (script, f"{script}.py") if script.endswith(".py") else (f"{script}.py", script):
        if os.path.isfile(path):
            return os.path.abspath(path)
    return None


def load(script: str, rest: Sequence[str]) -> ModuleType:
    """Import the script under its own name, never as ``__main__``; ``rest`` is its sys.argv[1:]."""
    path = path_of(script)
    sys.argv = [path or script, *rest]
    if path is None:
        sys.path.insert(0, os.getcwd())
        try:
            if importlib.util.find_spec(script) is None:
                raise ModuleNotFoundError(name=script)
        except (ImportError, ValueError) as error:
            absent = isinstance(error, ModuleNotFoundError) and f"{script}.".startswith(f"{error.name}.")
            if isinstance(error, ImportError) and not absent and not script.startswith("."):
                raise  # the package is there, and lacks something
            raise OptionError(
                f"there is no script {script!r}: neither a file {script!r} or {script + '.py'!r} in {os.getcwd()}, "
                "nor a module of that name"
            ) from None
        return importlib.import_module(script)
    sys.path.insert(0, os.path.dirname(path))
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"cluf_script_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{script!r} is no Python script: its name should end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def target_of(module: ModuleType, name: str) -> Callable[..., Any]:
    """The function to call."""
    found = _named(module, name, "function", "target")
    if not callable(found):
        raise OptionError(f"{name!r} in {module.__file__} is not a function, but a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def arguments_of(module: ModuleType, name: str) -> Iterable[Any]:
    """The iterable of arguments; made by calling what is callable."""
    found = _named(module, name, "iterable", "args")
    if callable(found):
        found = found()
    if not isinstance(found, Iterable):
        raise OptionError(f"{name!r} in {module.__file__} cannot be iterated over: it is a {type(found).__name__}")
    return found


def _named(module: ModuleType, name: str, what: str, option: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        there = ", ".join(word for word in vars(module) if not word.startswith("_")) or "nothing"
        raise OptionError(
            f"{module.__file__} has no {what} {name!r}: it has {there}. Say which with --{option}=NAME."
        ) from None
