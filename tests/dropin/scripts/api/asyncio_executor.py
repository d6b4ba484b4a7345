"""run_in_executor, gather, wait_for, as_completed and wrap_future of asyncio."""

import asyncio, functools, time
from under_test import Executor


def work(n):
    return [n]


def fail(n):
    raise KeyError(n)


async def main(ex):
    loop = asyncio.get_running_loop()
    print(await asyncio.gather(*(loop.run_in_executor(ex, work, n) for n in range(3))))
    print(await loop.run_in_executor(ex, functools.partial(work, n="k")), await asyncio.wrap_future(ex.submit(work, 5)))
    try:
        await loop.run_in_executor(ex, fail, 1)
    except KeyError as error:
        print("KeyError", error)
    print(sorted([await f for f in asyncio.as_completed([loop.run_in_executor(ex, work, n) for n in (1, 2)])]))
    try:
        await asyncio.wait_for(loop.run_in_executor(ex, time.sleep, 0.5), 0.01)
    except asyncio.TimeoutError:
        print("timeout")


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        asyncio.run(main(ex))
