"""A cached_property that is first read in a call, and comes back filled."""

import functools
from under_test import Executor


class Data:
    loads = 0

    def __init__(self, n):
        self.n = n

    @functools.cached_property
    def square(self):
        type(self).loads += 1
        return self.n**2


def twice(data):
    return data.square + data.square, Data.loads


def fill(data):
    data.square
    return data


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(twice, Data(3)).result())
        back = ex.submit(fill, Data(4)).result()
        print(back.__dict__, back.square, Data.loads, isinstance(back, Data))
