"""What a job runs that is a function: ``python -m clusterfutures.jobs.function DIRECTORY``.

call: (directories in front, sys.path, imports, pickle of (function, args, kwargs))
      ->  result: (worked, pickle of value or exception, what that is, traceback)
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from clusterfutures.errors import RemoteTraceback, TransferError
from clusterfutures.jobs.files import JobFiles
from clusterfutures.pickling import by_value, definitions

__all__ = ["packed", "unpacked"]


def packed(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], imports: Sequence[str] = (), paths: Sequence[str] = ()
) -> bytes:
    """The content of ``call``."""
    return pickle.dumps((list(paths), sys.path, list(imports), by_value.dumps((function, args, kwargs))))


def _outcome(content: bytes) -> tuple[bool, Any, str]:
    try:
        front, path, imports, call = pickle.loads(content)
        here = os.getcwd()  # as a script's directory is searched, but behind all others: it hides no library
        sys.path[:] = [*front, *sys.path, *(entry for entry in path if entry not in sys.path), here]
        needs = definitions.fields(call)
        if needs is not None:  # the program's __main__, in place of this module
            definitions.install(needs[0], {})
        function, args, kwargs = pickle.loads(call)
        for words in imports:
            exec(words if " " in words.strip() else f"import {words}", getattr(function, "__globals__", {}))
        return True, function(*args, **kwargs), ""
    except BaseException as error:  # SystemExit too: the submitting program gets it
        return False, error, traceback.format_exc()


def _described(worked: bool, value: Any) -> str:
    """The value or exception in words, for when it cannot travel."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    try:
        return f"returned a {kind}" if worked else f"raised {kind}: {value}"
    except Exception as error:
        return f"raised {kind} (its text cannot be had: {type(error).__name__})"


def main() -> int:
    """Run the call; 0 when it worked, 1 when it raised."""
    files = JobFiles(sys.argv[1])
    worked, value, text = _outcome(files.read("call") or b"")
    what = _described(worked, value)
    try:
        content = by_value.dumps(value)
    except Exception as error:
        worked, text = False, text or traceback.format_exc()
        failed = TransferError(message=f"the function {what}, which cannot be pickled: {type(error).__name__}: {error}")
        content = pickle.dumps(failed)
    files.write("result", pickle.dumps((worked, content, what, text)))
    sys.stderr.write(text)
    return 0 if worked else 1


def unpacked(result: bytes) -> tuple[bool, Any]:
    """Whether the function worked, and the value; else the exception, caused by its traceback on the node."""
    worked, content, what, text = pickle.loads(result)
    try:
        value = pickle.loads(content)
        if not worked and not isinstance(value, BaseException):
            raise TypeError(f"it comes back as a {type(value).__name__}")
    except Exception as error:
        worked = False
        value = TransferError(
            message=f"the function {what}, which cannot be unpickled here: {type(error).__name__}: {error}; "
            "its class has to be importable in this program, and its instances to survive a pickle"
        )
    if not worked:
        value.__cause__ = RemoteTraceback(text) if text else None
    return worked, value


if __name__ == "__main__":
    sys.exit(main())
