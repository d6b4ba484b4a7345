"""functools.lru_cache and cache: filled in the process, read by its later calls."""

import functools
from under_test import Executor


@functools.lru_cache(maxsize=10)
def slow(n):
    return n * 2


@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


class Loader:
    def __init__(self, n):
        self.n = n

    @functools.lru_cache
    def load(self, k):
        return self.n * k

    @staticmethod
    @functools.cache
    def fixed(k):
        return k + 1


def info():
    return tuple(slow.cache_info()), fib.cache_info().currsize


def clear():
    slow.cache_clear()
    return tuple(slow.cache_info())


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(slow, 1).result(),
            ex.submit(slow, 1).result(),
            ex.submit(fib, 30).result(),
            ex.submit(info).result(),
        )
        print(ex.submit(Loader(3).load, 2).result(), ex.submit(Loader.fixed, 2).result(), ex.submit(clear).result())
    print(slow.cache_info().currsize)
