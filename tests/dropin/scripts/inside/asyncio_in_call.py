"""An event loop in each call."""

import asyncio
from under_test import Executor


async def fetch(n):
    await asyncio.sleep(0.001)
    return n * 2


async def all_of(n):
    return await asyncio.gather(*(fetch(i) for i in range(n)))


def work(n):
    return asyncio.run(all_of(n))


async def direct(n):
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(list(ex.map(work, range(3))), ex.submit(asyncio.iscoroutinefunction, direct).result())
