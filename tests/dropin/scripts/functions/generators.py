"""Generators and coroutines used within a call; iterators as arguments of map."""

import asyncio, contextlib
from under_test import Executor


def numbers(n):
    for i in range(n):
        yield i


async def later(n):
    await asyncio.sleep(0)
    return n + 1


@contextlib.contextmanager
def opened(n):
    yield n * 2


def total(n):
    return sum(numbers(n))


def awaited(n):
    return asyncio.run(later(n))


def within(n):
    with opened(n) as value:
        return value


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(total, 4).result(), ex.submit(awaited, 1).result(), ex.submit(within, 3).result())
        print(list(ex.map(total, numbers(4))), list(ex.map(total, (n for n in (2, 3)))), list(ex.map(total, iter([1]))))
