"""Decorated functions: wraps, with arguments, stacked, classes as decorators."""

import functools
from under_test import Executor


def logged(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        inner.calls += 1
        return f.__name__, f(*args, **kwargs), inner.calls

    inner.calls = 0
    return inner


def repeat(times):
    def decorate(f):
        @functools.wraps(f)
        def inner(*args):
            return [f(*args) for _ in range(times)]

        return inner

    return decorate


class Counted:
    def __init__(self, f):
        functools.update_wrapper(self, f)
        self.f = f
        self.count = 0

    def __call__(self, *args):
        self.count += 1
        return self.f(*args), self.count


@logged
def add(a, b):
    """Add."""
    return a + b


@repeat(2)
@logged
def twice(n):
    return n * 2


def plain(n):
    return n - 1


counted = Counted(plain)


def doc():
    return add.__doc__, add.__name__, add.__wrapped__(1, 2)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print([ex.submit(add, n, b=1).result() for n in range(3)])
        print(ex.submit(twice, 3).result(), ex.submit(counted, 3).result(), ex.submit(doc).result())
