"""Imports within functions, aliases, from-imports, names that shadow built-ins."""

from under_test import Executor
from collections import OrderedDict as Ordered
import os.path as paths


def sum(values):
    return "own sum"


def inside(n):
    import json, math as m
    from statistics import mean

    return json.dumps({"n": n}), m.floor(2.5), mean([1, 3]), Ordered(a=1)["a"], paths.basename("a/b")


def shadowed():
    return sum([1]), __builtins__ is not None


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(inside, 1).result(), ex.submit(shadowed).result())
