"""Scripts that still differ, and must not: each with its cause.

The list may only shrink: the test fails when a script on it begins to agree.
"""

from __future__ import annotations

_CALLABLE = "a callable object is kept from one call to the next"
_CTYPES = "the fields of a ctypes structure do not travel"
_ANNOTATION = "a module that only an annotation names is not in the namespace of the node until it is asked for"
_COPYREG = "copyreg.pickle of the program is not registered on the node"

KNOWN = {
    "classes/callables": _CALLABLE,
    "classes/ctypes_structures": _CTYPES,
    "classes/dataclass_string_annotations": _ANNOTATION,
    "classes/pickle_methods": _COPYREG,
}
