"""An executor inside a multiprocessing child, by fork, spawn and forkserver."""

import multiprocessing
from under_test import Executor


class Item:
    def __init__(self, n):
        self.n = n


def leaf(item):
    return Item(item.n * 2)


def child(queue):
    with Executor(max_workers=1) as ex:
        queue.put([ex.submit(leaf, Item(4)).result().n, list(ex.map(abs, [-1, -2]))])


if __name__ == "__main__":
    for how in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(how)
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        process.join(60)
        print(how, process.exitcode, queue.get() if process.exitcode == 0 else None)
