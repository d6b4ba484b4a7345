# differs: TransferError (a PicklingError) names the object and the way to it, where ProcessPoolExecutor lets pickle's TypeError through
"""The type of the exception when an argument cannot be pickled."""

import sys
from under_test import Executor


def same(thing):
    return thing


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(type(ex.submit(same, sys._getframe()).exception()).__name__)
