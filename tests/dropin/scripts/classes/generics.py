"""Generic classes, type variables, aliases, new types, typed dictionaries."""

import typing
from under_test import Executor

T = typing.TypeVar("T")
K = typing.TypeVar("K", bound=str)
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
UserId = typing.NewType("UserId", int)
Table = dict[str, list[int]]
Maybe = typing.Optional[int]


class Stack(typing.Generic[T]):
    def __init__(self):
        self.items: list[T] = []

    def push(self, item: T) -> "Stack[T]":
        self.items.append(item)
        return self


class Pair(typing.Generic[K, T]):
    pass


class Shape(typing.Generic[typing.Unpack[Ts]]):
    pass


class Movie(typing.TypedDict, total=False):
    name: str
    year: int


def push(stack, item):
    return stack.push(item)


def user(number):
    return UserId(number), isinstance(UserId(1), int), UserId.__name__


def movie(name) -> Movie:
    return Movie(name=name, year=1)


def decorated(f: typing.Callable[P, T]) -> typing.Callable[P, T]:
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        return f(*args, **kwargs)

    return inner


def variables(_):
    return T.__name__, K.__bound__, P.__name__, Ts.__name__, Table, Maybe, str(Pair[str, int]), str(Shape[int, str])


def through(n):
    return decorated(abs)(n)


def same(thing):
    return thing is T, thing is UserId


def give(_):
    return T, UserId


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        stack = ex.submit(push, Stack[int](), 3).result()
        print(stack.items, type(stack) is Stack, ex.submit(user, 5).result(), ex.submit(movie, "m").result())
        print(ex.submit(variables, 0).result(), ex.submit(through, -4).result())
        print(ex.submit(same, T).result(), ex.submit(same, UserId).result())
        back = ex.submit(give, 0).result()
        print(back[0] is T, back[1] is UserId)
