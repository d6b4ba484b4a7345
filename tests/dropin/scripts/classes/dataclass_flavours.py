"""Frozen, slots, ordered, keyword-only, default factories, InitVar, inheritance."""

import dataclasses
from under_test import Executor


@dataclasses.dataclass(frozen=True, order=True)
class Frozen:
    a: int
    b: tuple = ()


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int
    b: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class Keyword:
    a: int
    b: dataclasses.InitVar[int] = 0
    c: int = dataclasses.field(init=False)

    def __post_init__(self, b):
        self.c = self.a + b


@dataclasses.dataclass
class Child(Keyword):
    d: str = "d"


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    a: int


def make(n):
    return [Frozen(n, (1,)), Slotted(n), Keyword(a=n, b=2), Child(a=n), Both(n)]


def use(things):
    slotted = things[1]
    slotted.b.append(things[0].a)
    try:
        slotted.other = 1
    except AttributeError as error:
        return type(error).__name__, slotted.b, sorted([things[0], Frozen(0)])[0].a


def freeze(thing):
    try:
        thing.a = 2
    except dataclasses.FrozenInstanceError:
        return "frozen"


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        made = ex.submit(make, 4).result()
        print(made, made == make(4), [type(a) is type(b) for a, b in zip(made, make(4))])
        print(ex.submit(use, made).result(), ex.submit(freeze, made[0]).result(), ex.submit(freeze, Both(1)).result())
        print(hash(made[0]) == hash(Frozen(4, (1,))), hasattr(made[1], "__dict__"))
