# better: an exception whose __init__ takes other arguments than it passes on breaks a whole ProcessPoolExecutor
"""An exception that cannot be made anew from its args, and one that holds a lock."""

import threading
from under_test import Executor


class Special(Exception):
    def __init__(self, *, code, place):
        super().__init__(f"{code} at {place}")
        self.code = code


class Holds(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


def fail(kind):
    if kind:
        raise Special(code=3, place="x")
    raise Holds("held")


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        error = ex.submit(fail, True).exception()
        assert "3 at x" in str(error), error
        assert "held" in str(ex.submit(fail, False).exception())
        assert ex.submit(abs, -1).result() == 1
    print("done")
