# differs: a fork copies the whole process; a job starts its own Python
"""State of the process that is no name of the script: the global random generator, warning filters, decimal context."""

import decimal, random, sys, warnings
from under_test import Executor

random.seed(7)
decimal.getcontext().prec = 5
sys.setrecursionlimit(4321)
warnings.simplefilter("error")


def look():
    try:
        warnings.warn("w")
    except UserWarning:
        raised = True
    else:
        raised = False
    return random.random(), str(decimal.Decimal(1) / 3), sys.getrecursionlimit(), raised


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(look).result())
