"""The commands: options together, the script loaded, one of the two modes run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

from clusterfutures.cluf import direct, loading, rcfile
from clusterfutures.cluf.help import help_text
from clusterfutures.cluf.reading import Given, merge, parse
from clusterfutures.cluf.table import ROWS
from clusterfutures.cluf.telling import with_traceback
from clusterfutures.commandline.completion import completion
from clusterfutures.commandline.guard import guarded
from clusterfutures.errors import OptionError

__all__ = ["clum", "main"]

_COMMAND_LINE = "the command line"


def main(words: Sequence[str] | None = None) -> int:
    """``cluf``: returns the exit status, 0 well, 1 calls failed, 2 a mistake, 130 interrupted."""
    return _guarded("cluf", words)


def clum(words: Sequence[str] | None = None) -> int:
    """``clum``: direct mode, with ``clum_options`` of the script."""
    return _guarded("clum", words)


def _guarded(program: str, words: Sequence[str] | None) -> int:
    return guarded(program, lambda: _run(program, parse(sys.argv[1:] if words is None else words)))


def _run(program: str, given: Given) -> int:
    if given.help:
        print(help_text(), end="")
        return 0
    if given.options.get("completion"):
        print(completion(merge([(_COMMAND_LINE, given.options)]).completion, program, {"": ROWS}), end="")
        return 0
    if not given.script:
        raise OptionError("which script? Try: cluf script.py, or cluf --help")
    merge([(_COMMAND_LINE, given.options)])  # mistakes there show before the script is run
    options = rcfile.read()
    merge([("~/.clufrc", options)])
    module = _loaded(program, given)
    settings = merge([(_COMMAND_LINE, given.options), *_of_script(module, program), ("~/.clufrc", options)])
    target = loading.target_of(module, settings.target or "target")
    dispatching = program == "cluf" and _dispatches(settings, given)
    if program == "clum" and {"nodes", "iterations", "queue"} & set(given.options):
        raise OptionError("clum works on this machine only: cluf makes and submits jobs")
    try:
        iterable = loading.arguments_of(module, settings.args or "args")
    except (OptionError, KeyboardInterrupt):
        raise
    except Exception as error:
        return _blame(program, f"{settings.args or 'args'}() of {given.script} raised", error)
    if not dispatching:
        return direct.run(target, iterable, settings)
    from clusterfutures.cluf.dispatch import run as dispatch  # direct mode must start fast

    return dispatch(iterable, settings, given)


def _dispatches(settings: SimpleNamespace, given: Given) -> bool:
    if settings.mode is None:
        jobs = bool(settings.nodes or settings.iterations)
        dispatching = jobs and given.options.get("bins") is None
        if jobs and not dispatching and {"nodes", "iterations"} & set(given.options):
            raise OptionError("the command line: --bins chooses part of the work, --nodes divides it: give one of them")
    else:
        dispatching = settings.mode == "dispatch"
        if dispatching and "bins" in given.options:
            raise OptionError("the command line: --bins chooses part of the work, --mode=dispatch divides it all")
    if not dispatching and {"queue", "wait"} & set(given.options) and (given.options.get("queue") is not False):
        raise OptionError("the command line: --queue and --wait need a number of jobs, --nodes=N or --iterations=N")
    return dispatching


def _of_script(module: ModuleType, program: str) -> list[tuple[str, Any]]:
    name = f"{program}_options"
    return [(f"{name} in {module.__file__}", getattr(module, name))] if hasattr(module, name) else []


def _loaded(program: str, given: Given) -> ModuleType:
    try:
        return loading.load(given.script, given.rest)
    except (OptionError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise OptionError(
            f"{given.script} ended itself when it was imported, by sys.exit({error.code!r}): what it does as a program "
            'of its own goes below: if __name__ == "__main__"'
        ) from None
    except BaseException as error:
        sys.exit(_blame(program, f"importing {given.script} failed", error))


def _blame(program: str, what: str, error: BaseException) -> int:
    """Show an error in the script."""
    print(with_traceback(error), end="", file=sys.stderr)
    print(f"{program}: {what}, see above", file=sys.stderr)
    return 2
