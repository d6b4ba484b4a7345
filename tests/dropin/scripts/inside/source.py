"""inspect.getsource, doctest and __doc__ of the script's functions."""

import doctest, inspect
from under_test import Executor


def add(a, b):
    """Add.

    >>> add(1, 2)
    3
    """
    return a + b


def source():
    return inspect.getsource(add).splitlines()[0], add.__doc__.split()[0], add.__code__.co_firstlineno


def tested():
    tests = doctest.DocTestFinder().find(add, "add", globs={"add": add})
    return [doctest.DocTestRunner().run(test) == (0, 1) for test in tests]


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(source).result(), ex.submit(tested).result())
