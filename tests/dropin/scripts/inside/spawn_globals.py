# differs: a spawned process runs the module's own code again; on a node it gets what the program has
"""A global that the program changes, in a process that a call spawns."""

import multiprocessing
from under_test import Executor

scale = 1


def scaled(x):
    return x * scale


def pool(how):
    with multiprocessing.get_context(how).Pool(1) as made:
        return made.map(scaled, [1, 2])


if __name__ == "__main__":
    scale = 10
    with Executor(max_workers=1) as ex:
        print(ex.submit(pool, "spawn").result(60))
