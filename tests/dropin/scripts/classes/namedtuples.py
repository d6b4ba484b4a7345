"""collections.namedtuple, typing.NamedTuple, and a subclass of one."""

import collections, typing
from under_test import Executor

Pair = collections.namedtuple("Pair", "a b", defaults=[7])


class Row(typing.NamedTuple):
    name: str
    size: int = 3

    def area(self):
        return self.size**2


class Own(collections.namedtuple("Own", "x y")):
    __slots__ = ()

    def total(self):
        return self.x + self.y


def make(n):
    return Pair(n), Row("r", n), Own(n, n)


def use(pair, row, own):
    return pair.b, row.area(), own.total(), own._replace(x=0), pair._asdict()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        made = ex.submit(make, 2).result()
        print(made, [type(thing) in (Pair, Row, Own) for thing in made], ex.submit(use, *made).result())
