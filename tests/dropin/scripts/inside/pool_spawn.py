"""multiprocessing by spawn inside a call."""

import concurrent.futures, multiprocessing
from under_test import Executor


class Item:
    def __init__(self, n):
        self.n = n


def helper(item):
    return Item(item.n * 2)


def futures(how):
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(how)) as made:
        return [item.n for item in made.map(helper, [Item(1), Item(2)])], isinstance(
            made.submit(helper, Item(1)).result(), Item
        )


def target(queue):
    queue.put(5)


def process(how):
    context = multiprocessing.get_context(how)
    queue = context.SimpleQueue()
    child = context.Process(target=target, args=(queue,))
    child.start()
    child.join(20)
    return child.exitcode, queue.get() if child.exitcode == 0 else None


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(process, "spawn").result())
        print(ex.submit(futures, "spawn").result(timeout=60))
