"""What results of earlier versions name as theirs; it is in ``pickling/definitions.py`` now."""

from __future__ import annotations

from typing import Any

from clusterfutures.pickling import definitions


def __getattr__(attribute: str) -> Any:
    return getattr(definitions, attribute)
