"""A code object that travels by value, with its file name, its lines and, where needed, their text.

    program: reduced(code) --fields, text--> pickle --> node: restored(fields, text) --> code, linecache

cloudpickle from 3.1.3 on replaces the file name of all such code by ``<dynamic-code>``.  Tracebacks,
warnings, ``inspect.getsource`` and pdb find a line by file name and number, so both travel unchanged.
The text of a file is read on demand, on the machine that needs it.  The text of a notebook's cell, of a doctest and of
what is typed exists in the ``linecache`` of the program only, so it travels with the code.
"""

from __future__ import annotations

import linecache
import sys
import types
from typing import Any

__all__ = ["reduced", "restored"]

#: characters of text that travel with a code object, at the most
_MOST_TEXT = 1 << 20
#: a pickler writes one string object once, however many code objects refer to it
_texts: dict[int, tuple[list[str], str]] = {}
_MOST_TEXTS = 100


def reduced(code: types.CodeType) -> tuple[Any, ...]:
    """Return what pickle calls to make ``code`` again: its constructor's arguments, and the text of its file."""
    fields = (
        code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_nlocals, code.co_stacksize,
        code.co_flags, code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_filename,
        code.co_name, code.co_qualname, code.co_firstlineno, code.co_linetable, code.co_exceptiontable,
        code.co_freevars, code.co_cellvars,
    )  # fmt: skip
    by_file, by_code = _text_by_file(code.co_filename), ""
    if not by_file:
        by_code = _joined(getattr(linecache, "_getlines_from_code", _no_lines)(code))
    return restored, (fields, by_file, by_code) if by_file or by_code else (fields,)


def restored(fields: tuple[Any, ...], by_file: str = "", by_code: str = "") -> types.CodeType:
    """Make the code object, and register its text where this process does not have it; called by the unpickler.

    by_file: text of the file that the code names.  by_code: text of ``-c`` or stdin; their file name
        is shared by many texts; Python keeps it by code object, from 3.13 on.
    """
    code = types.CodeType(*fields)
    name = code.co_filename
    if by_file:
        # Replaces an entry of that name: Python 3.13.0 keeps the text of a node's own ``-c`` so.  Has no time of
        # change: linecache.checkcache() would look for the file and drop the text.
        linecache.cache[name] = (len(by_file), None, by_file.splitlines(True), name)
    register = getattr(linecache, "_register_code", None)
    if by_code and register is not None:
        register(code, by_code, name)
    return code


def _text_by_file(name: str) -> str:
    """The text of a file that exists in this program only; "" for a file that others can read."""
    main = sys.modules.get("__main__")
    if name == getattr(main, "__file__", None) and hasattr(getattr(main, "__loader__", None), "archive"):
        return _joined(linecache.getlines(name, vars(main)))  # the program is an archive, which linecache cannot open
    entry = linecache.cache.get(name)
    if entry is not None and len(entry) > 1:
        return _joined(entry[2]) if entry[1] is None else ""
    # doctest answers for its examples here, without an entry
    return _joined(linecache.getlines(name)) if name.startswith("<") else ""


def _joined(lines: list[str]) -> str:
    if not lines:
        return ""
    known = _texts.get(id(lines))
    if known is None or known[0] is not lines:
        text = "".join(lines)
        if len(_texts) >= _MOST_TEXTS:
            _texts.clear()
        known = _texts[id(lines)] = (lines, text if len(text) <= _MOST_TEXT else "")
    return known[1]


def _no_lines(_code: types.CodeType) -> list[str]:
    return []
