"""``~/.clufrc``: a JSON object of options; ``RC_PARAMS`` is what it says."""

from __future__ import annotations

import json
import os
from typing import Any

from clusterfutures.errors import OptionError
from clusterfutures.options.config_file import trusted_text

__all__ = ["RC_PARAMS", "read"]


def read(path: str = "~/.clufrc") -> dict[str, Any]:
    """The options in the file; none when there is no file.  Raises OptionError naming the place."""
    full = os.path.expanduser(path)
    try:
        found = json.loads(trusted_text(full))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise OptionError(
            f"{path}, line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}. "
            'Expected an object like {"processes": 4}.'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise OptionError(f'{path}: expected a JSON object like {{"processes": 4}}, not {type(found).__name__}')
    return found


def __getattr__(name: str) -> Any:
    if name != "RC_PARAMS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = read()
    return value


RC_PARAMS: dict[str, Any]
