"""Real slots on the other side, and back again."""

from under_test import Executor


class Base:
    __slots__ = ("a",)

    def __init__(self, a):
        self.a = a


class Child(Base):
    __slots__ = ("b", "__weakref__")

    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


class Loose(Base):
    def __init__(self, a):
        super().__init__(a)
        self.more = a


class Stated:
    __slots__ = ("v",)

    def __init__(self, v):
        self.v = v

    def __getstate__(self):
        return {"v": self.v}

    def __setstate__(self, state):
        self.v = state["v"] * 2


def look(thing):
    try:
        thing.zzz = 1
    except AttributeError:
        return "fixed", hasattr(thing, "__dict__"), type(thing).__slots__
    return "loose"


def make(n):
    return Child(n, n), Loose(n), Stated(n)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(look, Child(1, 2)).result(), ex.submit(look, Base(1)).result(), ex.submit(look, Loose(1)).result()
        )
        child, loose, stated = ex.submit(make, 3).result()
        print(child.a, child.b, type(child) is Child, loose.more, loose.a, isinstance(loose, Loose), stated.v)
