# status: 7
"""result() of a call that called sys.exit ends the program."""

import sys
from under_test import Executor


def work():
    sys.exit(7)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        ex.submit(work).result()
    print("not here")
