"""What a job runs that is a function: ``python -m clusterfutures.jobs.function DIRECTORY``.

call: (directories in front, sys.path, imports, pickle of (function, args, kwargs))
      ->  result: (worked, value or exception, traceback)
"""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import cloudpickle

from clusterfutures.jobs.files import JobFiles

__all__ = ["packed"]


def packed(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], imports: Sequence[str] = (), paths: Sequence[str] = ()
) -> bytes:
    """The content of ``call``."""
    return pickle.dumps((list(paths), sys.path, list(imports), cloudpickle.dumps((function, args, kwargs))))


def _outcome(content: bytes) -> tuple[bool, Any, str]:
    try:
        front, path, imports, call = pickle.loads(content)
        sys.path[:] = [*front, *sys.path, *(entry for entry in path if entry not in sys.path)]
        function, args, kwargs = pickle.loads(call)
        for words in imports:
            exec(words if " " in words.strip() else f"import {words}", getattr(function, "__globals__", {}))
        return True, function(*args, **kwargs), ""
    except BaseException as error:  # SystemExit too: the program that asked is told
        return False, error, traceback.format_exc()


def main() -> int:
    """Run the call; 0 when it worked, 1 when it raised."""
    files = JobFiles(sys.argv[1])
    worked, value, text = _outcome(files.read("call") or b"")
    try:
        content = cloudpickle.dumps((worked, value, text))
    except Exception as error:
        worked, text = False, text or traceback.format_exc()
        content = cloudpickle.dumps((False, TypeError(f"what the function gave cannot be pickled: {error}"), text))
    files.write("result", content)
    sys.stderr.write(text)
    return 0 if worked else 1


if __name__ == "__main__":
    sys.exit(main())
