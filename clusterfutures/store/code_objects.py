"""What results of earlier versions name as theirs; it is in ``pickling/code_objects.py`` now."""

from __future__ import annotations

from typing import Any

from clusterfutures.pickling import code_objects


def __getattr__(attribute: str) -> Any:
    return getattr(code_objects, attribute)
