"""ContextVar of the script."""

import contextvars
from under_test import Executor

CURRENT = contextvars.ContextVar("current", default="none")


def read():
    return CURRENT.get()


def within(value):
    token = CURRENT.set(value)
    try:
        return read(), contextvars.copy_context()[CURRENT]
    finally:
        CURRENT.reset(token)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(read).result(), ex.submit(within, "x").result(), ex.submit(read).result())
