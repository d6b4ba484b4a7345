"""``Arguments``: one call's arguments, kept as they would be written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Arguments", "shown"]

#: of what is said of the arguments of a call
_LONGEST = 200


class Arguments:
    """Arguments for one call of a function, positional and by keyword.

        Arguments(0, *[1, 2], four=4)      calls target(0, 1, 2, four=4)

    ``arguments[0]`` is a positional argument, ``arguments["four"]`` one by keyword (KeyError
    when there is none); ``in`` looks for either.
    """

    __slots__ = ("args", "kwargs")

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    @classmethod
    def of(cls, value: Any) -> Arguments:
        """``value`` as arguments: a tuple is unpacked, anything else is one argument."""
        if isinstance(value, cls):
            return value
        return cls(*value) if type(value) is tuple else cls(value)

    def call(self, function: Callable[..., Any]) -> Any:
        """What ``function`` returns for these arguments."""
        return function(*self.args, **self.kwargs)

    def __contains__(self, key: int | str) -> bool:
        if isinstance(key, int):
            return -len(self.args) <= key < len(self.args)
        return key in self.kwargs

    def __getitem__(self, key: int | str) -> Any:
        if key not in self:
            raise KeyError(key)
        return self.args[key] if isinstance(key, int) else self.kwargs[key]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Arguments):
            return NotImplemented
        return self.args == other.args and self.kwargs == other.kwargs

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        words = [repr(value) for value in self.args]
        words += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"({', '.join(words)})"

    def __repr__(self) -> str:
        return f"Arguments{self}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.args, self.kwargs)


def _rebuild(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    return Arguments(*args, **kwargs)


def shown(arguments: Iterable[Any]) -> str:
    """The positional arguments of a call as text for an error, shortened."""
    import reprlib  # for errors only

    short = reprlib.Repr()
    short.maxstring = short.maxother = 60
    words = []
    for value in arguments:
        try:
            words.append(" ".join(short.repr(value).split()))
        except BaseException:  # a ``__repr__`` of the user's
            words.append(f"<{type(value).__qualname__}>")
    text = ", ".join(words)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
