"""multiprocessing by forkserver inside a call."""

import concurrent.futures, multiprocessing
from under_test import Executor


def helper(n):
    return n * n


def futures(how):
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(how)) as made:
        return list(made.map(helper, range(3)))


def target(queue):
    queue.put(helper(3))


def process(how):
    context = multiprocessing.get_context(how)
    queue = context.SimpleQueue()
    child = context.Process(target=target, args=(queue,))
    child.start()
    child.join(20)
    return child.exitcode, queue.get() if child.exitcode == 0 else None


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(process, "forkserver").result())
        print(ex.submit(futures, "forkserver").result(timeout=60))
