"""Partials, bound methods, callable instances: what a call changes in them is not there for the next."""

import functools
from under_test import Executor


def collect(into, x):
    into.append(x)
    return list(into)


class Counter:
    total = 0

    def __init__(self):
        self.seen = []

    def see(self, x):
        self.seen.append(x)
        Counter.total += 1
        return list(self.seen)

    def __call__(self, x):
        return self.see(x)

    @classmethod
    def count(cls, x):
        return x

    @functools.cache
    def cached(self, x):
        self.seen.append(x)
        return list(self.seen)


class Slow:
    def __init__(self, function):
        self.function, self.cache = function, {}

    def __get__(self, instance, owner):
        return functools.partial(self.function, instance)

    def __call__(self, x):
        return self.cache.setdefault(x, len(self.cache))


if __name__ == "__main__":
    counter = Counter()
    with Executor(max_workers=1) as ex:
        print(list(ex.map(functools.partial(collect, []), range(4))), list(ex.map(counter.see, range(4))))
        print([ex.submit(counter, n).result() for n in range(3)], counter.seen)
        print([ex.submit([3, 4].__contains__, n).result() for n in range(3, 6)], list(ex.map(counter.count, range(3))))
        print([ex.submit(counter.cached, n).result() for n in (1, 1, 2)])
        print(list(ex.map(Slow(len), "aabc")), ex.submit({"a": 1}.get, "a").result())
        print([ex.submit([1, 2, 3].pop).result() for _ in range(3)], list(ex.map([1].append, range(2))))
