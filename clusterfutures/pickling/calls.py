"""What is pickled as a call: unpickling makes the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Call"]


class Call:
    """Stands in a pickle for ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call
