# status: 1
"""An exception that nobody catches ends the program with status 1."""

from under_test import Executor


def fail():
    raise RuntimeError("not caught")


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(abs, -3).result(), flush=True)
        ex.submit(fail).result()
        print("not here")
