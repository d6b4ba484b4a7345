"""shutdown: waits or not, cancels or not; submit after it."""

import time
from under_test import Executor


def slow(n):
    time.sleep(n)
    return n


if __name__ == "__main__":
    ex = Executor(max_workers=1)
    future = ex.submit(slow, 0.2)
    ex.shutdown(wait=True)
    print(future.done(), future.result())
    try:
        ex.submit(slow, 0)
    except RuntimeError as error:
        print(error)
    try:
        ex.map(slow, [0])
    except RuntimeError as error:
        print(error)
    ex.shutdown()
    ex = Executor(max_workers=1)
    future = ex.submit(slow, 0.3)
    ex.shutdown(wait=False)
    print(future.result())
    ex = Executor(max_workers=1)
    futures = [ex.submit(slow, 0.5 if n == 0 else 0) for n in range(20)]
    ex.shutdown(cancel_futures=True)
    print(futures[-1].cancelled(), all(f.done() for f in futures))
