"""Errors of the user's code as text: in one line, and with a traceback that begins in that code."""

from __future__ import annotations

import importlib.util
import os
import traceback

from clusterfutures.pickling.arguments import Arguments

__all__ = ["in_one_line", "with_traceback"]

#: frames of these are of no use to the reader
_FILES = frozenset({
    Arguments.call.__code__.co_filename, importlib.util.__file__, "<frozen importlib._bootstrap>",
    "<frozen importlib._bootstrap_external>",
})  # fmt: skip
_ROOM = os.path.dirname(__file__) + os.sep


def in_one_line(error: BaseException) -> str:
    """Type and text of an error; notes, parts of a group and places in a file are left to the traceback."""
    said = traceback.format_exception_only(type(error), error)
    return next((line for line in said if not line[:1].isspace()), said[-1]).strip()


def with_traceback(error: BaseException) -> str:
    """The error as Python prints it, without the frames that led to the user's code."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_ours(path: str) -> bool:
    return path in _FILES or path.startswith(_ROOM)
