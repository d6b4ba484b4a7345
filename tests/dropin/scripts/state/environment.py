"""Environment variables that the program sets before it makes the executor."""

import os
from under_test import Executor

os.environ["DROPIN_SETTING"] = "on = 'yes' \"x\" $HOME"
os.environ.pop("DROPIN_GONE", None)


def read(name):
    return os.environ.get(name)


def write(n):
    os.environ["DROPIN_CALL"] = str(n)
    return os.environ["DROPIN_CALL"]


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(read, "DROPIN_SETTING").result(),
            ex.submit(read, "DROPIN_GONE").result(),
            ex.submit(write, 1).result(),
            ex.submit(read, "DROPIN_CALL").result(),
        )
    print(os.environ.get("DROPIN_CALL"))
