# status: 3
"""sys.exit of a call's result: the program's exit status."""

import sys
from under_test import Executor


def work():
    return 3


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        code = ex.submit(work).result()
    print("ending")
    sys.exit(code)
