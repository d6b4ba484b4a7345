# better: lambdas have no name that pickle could import
"""Lambdas, closures, local functions: as function, argument and result."""

from under_test import Executor


def adder(n):
    def add(x):
        return x + n

    return add


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        assert ex.submit(lambda x: x + 1, 1).result() == 2
        assert ex.submit(adder(3), 4).result() == 7
        assert list(ex.map(lambda x: x * x, range(4))) == [0, 1, 4, 9]
        assert ex.submit(adder, 5).result()(6) == 11
        assert ex.submit(max, [3, -5], key=lambda n: -n).result() == -5
        factorial = lambda n: 1 if n < 2 else n * factorial(n - 1)
        assert ex.submit(factorial, 5).result() == 120
    print("done")
