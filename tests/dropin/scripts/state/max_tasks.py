"""max_tasks_per_child: a new process begins with fresh globals."""

import multiprocessing
from under_test import Executor

count = 0


def up():
    global count
    count += 1
    return count


if __name__ == "__main__":
    with Executor(max_workers=1, max_tasks_per_child=2, mp_context=multiprocessing.get_context("spawn")) as ex:
        print([ex.submit(up).result() for _ in range(5)])
