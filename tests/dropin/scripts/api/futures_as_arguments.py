# better: a future cannot be pickled; here it is replaced by its result
"""Futures as arguments of other calls."""

from under_test import Executor


def add(a, b):
    return a + b


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        first = ex.submit(add, 1, 2)
        assert ex.submit(add, first, ex.submit(add, 3, 4)).result() == 10
        assert ex.submit(sum, [first, 5]).result() == 8
    print("done")
