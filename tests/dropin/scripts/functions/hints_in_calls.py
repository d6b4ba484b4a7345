"""typing.get_type_hints of functions, methods and classes, whose annotations are text."""

from __future__ import annotations

import collections.abc, decimal, typing
from under_test import Executor

T = typing.TypeVar("T")
Number = int | float


class Only:
    """Only an annotation names it."""


class Row(typing.NamedTuple):
    key: str
    value: decimal.Decimal


class Table(typing.TypedDict):
    rows: list[Row]
    total: Number


def first(rows: collections.abc.Sequence[Row], default: Only | None = None) -> Row | None:
    return rows[0] if rows else None


class Model:
    weights: dict[str, Number]

    def fit(self, rows: list[Row], by: typing.Callable[[Row], T]) -> Model:
        return self


def hints(of):
    return {name: str(hint) for name, hint in typing.get_type_hints(of).items()}


def all_hints(_):
    return [hints(of) for of in (first, Model, Model.fit, Table, Row)]


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(all_hints, 1).result())
        print(ex.submit(hints, first).result(), ex.submit(hints, Model.fit).result())
