"""Mutable defaults, keyword-only and positional-only parameters, star arguments, names that executors use."""

from under_test import Executor


def gather(item, into=[]):
    into.append(item)
    return into


def kinds(a, /, b, *rest, c, d=4, **more):
    return a, b, rest, c, d, more


def names(fn, self, args, kwargs, timeout=None):
    return fn, self, args, kwargs, timeout


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print([ex.submit(gather, n).result() for n in range(3)], gather(9))
        print(ex.submit(kinds, 1, 2, 3, c=4, e=5).result())
        print(ex.submit(names, fn=1, self=2, args=3, kwargs=4, timeout=5).result())
