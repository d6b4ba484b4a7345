"""multiprocessing by fork inside a call."""

import concurrent.futures, multiprocessing
from under_test import Executor


def helper(n):
    return n * n


def pool(how):
    with multiprocessing.get_context(how).Pool(2) as made:
        return made.map(helper, range(4))


def futures(how):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(how)) as made:
        return list(made.map(helper, range(4)))


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
        print(
            ex.submit(pool, "fork").result(), ex.submit(futures, "fork").result(), ex.submit(process, "fork").result()
        )
