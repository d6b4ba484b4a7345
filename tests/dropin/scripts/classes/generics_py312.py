# python: 3.12
"""The syntax of Python 3.12: type statements, type parameters of classes and functions."""

from under_test import Executor

type Number = int | float
type Nested = list[Nested] | int


class Box[T]:
    def __init__(self, held: T):
        self.held = held

    def get(self) -> T:
        return self.held


def first[T](things: list[T]) -> T:
    return things[0]


def total(thing: Nested) -> int:
    return thing if isinstance(thing, int) else sum(map(total, thing))


def alias(_):
    return Number.__name__, str(Number.__value__), first.__type_params__[0].__name__


def same(thing):
    return thing is Number


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(first, [3, 4]).result(), ex.submit(total, [1, [2, 3]]).result(), ex.submit(alias, 0).result())
        print(ex.submit(Box(5).get).result(), type(ex.submit(Box, 1).result()) is Box, ex.submit(same, Number).result())
