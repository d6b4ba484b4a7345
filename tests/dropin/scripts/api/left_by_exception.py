# status: 1
"""The with block is left by an exception."""

from under_test import Executor


def work(n):
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(work, 1).result(), flush=True)
        raise RuntimeError("in the block")
