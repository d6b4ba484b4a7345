"""isinstance, attributes that programs read, subclasses of the executor."""

import concurrent.futures
from under_test import Executor


class Own(Executor):
    def submit(self, fn, /, *args, **kwargs):
        Own.count += 1
        return super().submit(fn, *args, **kwargs)

    count = 0


def work(n):
    return n


if __name__ == "__main__":
    with Own(max_workers=3) as ex:
        print(isinstance(ex, concurrent.futures.Executor), ex._max_workers, ex.submit(work, 1).result(), Own.count)
        print(isinstance(ex.submit(work, 1), concurrent.futures.Future), len({ex.submit(work, 1), ex.submit(work, 1)}))
