"""functools.partial of many kinds, partialmethod."""

import functools, operator
from under_test import Executor


def power(base, exponent, *, plus=0):
    return base**exponent + plus


class Cell:
    def __init__(self):
        self.state = None

    def set(self, value):
        self.state = value
        return value

    on = functools.partialmethod(set, True)


square = functools.partial(power, exponent=2)
if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(list(ex.map(square, range(4))), ex.submit(functools.partial(square, plus=1), 3).result())
        print(
            ex.submit(functools.partial(operator.mul, 4), 5).result(),
            ex.submit(functools.partial(print, end="")).result(),
        )
        print(ex.submit(Cell().on).result(), ex.submit(functools.partial(Cell().set, 3)).result())
        print(ex.submit(functools.partial(int, base=2), "101").result())
