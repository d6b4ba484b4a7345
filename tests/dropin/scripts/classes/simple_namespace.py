"""Data without a class of its own: SimpleNamespace, mapping proxies of classes, functions in dictionaries."""

import types
from under_test import Executor

CONFIG = types.SimpleNamespace(rate=0.5, steps=[1, 2])
FIXED = types.MappingProxyType({"a": 1})
STEPS = {"double": lambda n: n * 2, "half": lambda n: n // 2}


def rate(n):
    return CONFIG.rate * n, CONFIG.steps, FIXED["a"]


def step(name, n):
    return STEPS[name](n)


def back(n):
    return types.SimpleNamespace(n=n)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(rate, 2).result(), ex.submit(step, "double", 4).result(), ex.submit(back, 3).result())
        print(ex.submit(back, CONFIG).result())
