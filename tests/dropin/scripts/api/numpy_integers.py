# needs: numpy
"""Numbers that numpy computed, as max_workers, chunksize and arguments."""

import numpy
from under_test import Executor


def work(n):
    return n + 1


if __name__ == "__main__":
    with Executor(max_workers=numpy.int64(2)) as ex:
        print(
            [int(n) for n in ex.map(work, numpy.arange(4), chunksize=numpy.int32(2))],
            int(ex.submit(work, numpy.int8(3)).result()),
        )
        print(type(ex.submit(work, numpy.float32(1)).result()).__name__)
