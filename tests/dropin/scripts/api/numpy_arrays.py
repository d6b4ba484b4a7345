# needs: numpy
"""Arrays: large and small, changed in the call, views, structured, in classes of the script."""

import numpy
from under_test import Executor

BASE = numpy.arange(6).reshape(2, 3)


class Grid:
    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return numpy.asarray(self.values, dtype)


def change(array):
    array[0] = 99
    return array.sum(), array.flags.writeable


def row(n):
    return BASE[n]


def total(grid):
    return float(numpy.asarray(grid).sum())


def make(n):
    return numpy.ones((n, n)), numpy.zeros(2, dtype=[("a", "i4"), ("b", "f8")])


def draw(seed):
    return numpy.random.default_rng(seed).integers(0, 100, 3).tolist()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        array = numpy.arange(500_000)
        print(
            ex.submit(change, array).result(),
            array[0],
            ex.submit(row, 1).result().tolist(),
            ex.submit(total, Grid([1, 2])).result(),
        )
        ones, structured = ex.submit(make, 400).result()
        ones += 1
        print(
            ones.sum(), structured.dtype.names, ex.submit(draw, 3).result(), list(ex.map(numpy.sum, [BASE, BASE.T[1:]]))
        )
