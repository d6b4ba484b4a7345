"""add_done_callback: order, exceptions in callbacks, after the end, cancelled futures."""

from under_test import Executor

told = []


def work(n):
    return n


def fail(future):
    raise ValueError("in a callback")


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        future = ex.submit(work, 3)
        future.add_done_callback(lambda f: told.append(("first", f.result())))
        future.add_done_callback(fail)
        future.add_done_callback(lambda f: told.append(("second", f is future)))
        future.result()
    future.add_done_callback(lambda f: told.append("at once"))
    print(told)
