"""Stages: results of the first are arguments of the second, many small calls, sorted and grouped."""

import collections
from under_test import Executor

TEXTS = ["a b a", "b c", "a"]


def count(text):
    return collections.Counter(text.split())


def merge(a, b):
    return a + b


def square(n):
    return n * n


if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        counts = list(ex.map(count, TEXTS))
        total = counts[0]
        for other in counts[1:]:
            total = ex.submit(merge, total, other).result()
        print(sorted(total.items()))
        futures = [ex.submit(square, n) for n in range(200)]
        print(sum(f.result() for f in futures), [f.done() for f in futures].count(True))
