"""SystemExit, KeyboardInterrupt and other BaseExceptions raised in a call."""

import sys
from under_test import Executor


class Stop(BaseException):
    pass


def leave(how):
    if how == "exit":
        sys.exit(4)
    if how == "interrupt":
        raise KeyboardInterrupt("k")
    if how == "generator":
        raise GeneratorExit
    raise Stop(5)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for how in ("exit", "interrupt", "generator", "stop"):
            error = ex.submit(leave, how).exception()
            print(type(error).__name__, error.args, getattr(error, "code", ""))
        print(ex.submit(abs, -1).result())
