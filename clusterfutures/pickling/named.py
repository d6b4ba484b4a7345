"""Objects that pickle refers to by name, though they are neither functions nor classes."""

from __future__ import annotations

import functools
import sys
import typing
from collections.abc import Callable
from typing import Any

from clusterfutures.pickling import definitions

__all__ = ["NAMED"]


def _make_new_type(new: Any, module: str, name: str) -> Any:
    return typing.NewType, (new.__name__, new.__supertype__), {"__module__": module, **vars(new)}


def _make_parameter(parameter: Any, module: str, name: str) -> Any:
    if isinstance(parameter, typing.TypeVar):
        return NotImplemented  # cloudpickle can
    names = ("bound", "covariant", "contravariant") if isinstance(parameter, typing.ParamSpec) else ()
    keywords = {key: getattr(parameter, f"__{key}__") for key in names}
    return definitions.make_parameter, (type(parameter), parameter.__name__, keywords, module)


def _make_alias(alias: Any, module: str, name: str) -> Any:
    kind: Any = type(alias)
    if alias.__type_params__:
        return functools.partial(kind, type_params=alias.__type_params__), (alias.__name__, alias.__value__)
    # its value may name it: it is made first, and gets its value afterwards
    make = definitions.make_alias, (alias.__name__, module, name)
    return *make, alias.__value__, None, None, definitions.set_alias_value


def _make_cached(cached: Any, module: str, name: str) -> Any:
    state = {key: value for key, value in vars(cached).items() if key != "__wrapped__"}
    return definitions.make_cached, (cached.__wrapped__, cached.cache_parameters(), module, name), state


#: what pickle refers to by its name, and how it is made where that name is not known
NAMED: dict[type, Callable[[Any, str, str], Any]] = {
    type(functools.lru_cache(int)): _make_cached,
    typing.NewType: _make_new_type,
    typing.TypeVar: _make_parameter,
    typing.TypeVarTuple: _make_parameter,
    typing.ParamSpec: _make_parameter,
}
if sys.version_info >= (3, 12):
    NAMED[typing.TypeAliasType] = _make_alias
