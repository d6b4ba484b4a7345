"""Where this program is: its working directory, its user's home directory, its interpreter.

Each of them can be missing: a temporary directory is removed while the program is in it, a container
runs as a user that has no home directory, Python is embedded in an application.  What does not need
the missing one goes on; what does is refused with one sentence, and before anything is made or submitted.
"""

from __future__ import annotations

import logging
import os
import re
import sys

from clusterfutures.errors import OptionError

__all__ = ["absolute", "current_directory", "own_interpreter"]

log = logging.getLogger("clusterfutures")

_INTERPRETER = r"(?i)python|pypy|graalpy|pyston"


def current_directory() -> str:
    """The working directory of this program; "" when it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def absolute(path: str, advice: str) -> str:
    """``path`` as an absolute one, ``~`` expanded.

    advice: what to do when that is not possible.  Raises OptionError then.
    """
    whole = os.path.expanduser(path)
    user = path[1:].partition("/")[0] if path.startswith("~") else None
    home = os.environ.get("HOME")
    if user and not os.path.isabs(whole):
        raise OptionError(f"{path} cannot be used: there is no user {user!r} on this machine. {advice}")
    if user == "" and home is not None and not os.path.isabs(home):
        raise OptionError(f"{path} cannot be used: HOME={home!r} is not an absolute path. {advice}")
    if user == "" and not os.path.isabs(whole):
        why = f"HOME is not set, and user {os.getuid()} has no entry in the list of users (passwd)"
        raise OptionError(f"{path} cannot be used: {why}. {advice}")
    if not os.path.isabs(whole) and not current_directory():
        raise OptionError(f"{path} cannot be used: the working directory of this program was removed. {advice}")
    return os.path.abspath(whole)


def own_interpreter(advice: str = "Name an interpreter with python=") -> str:
    """The interpreter that runs this program, for its jobs.

    In a frozen program (PyInstaller, cx_Freeze, Nuitka) or one that embeds Python, ``sys.executable`` is
    the program: a job that started it would submit a job that starts it.  Raises OptionError there.
    """
    version = "{}.{}".format(*sys.version_info)
    needs = f"{advice}, one of Python {version} that has clusterfutures."
    found = sys.executable
    if not found:
        raise OptionError(f"This program does not know its Python interpreter (sys.executable is {found!r}). {needs}")
    names = (os.path.basename(found), os.path.basename(os.path.realpath(found)))
    if getattr(sys, "frozen", False) or not any(re.search(_INTERPRETER, name) for name in names):
        raise OptionError(f"{found} is a program with Python in it, no interpreter that could run its jobs. {needs}")
    try:
        os.stat(found)
    except FileNotFoundError:
        raise OptionError(f"The interpreter of this program, {found}, is not there any more. {needs}") from None
    except OSError:
        log.debug("clusterfutures: whether %s is there cannot be seen", found)  # who started this program sees more
    return found
