"""cancel: pending calls can be cancelled, finished ones cannot; states and their exceptions."""

import concurrent.futures, time
from under_test import Executor


def slow(n):
    time.sleep(n)
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        running = ex.submit(slow, 1.0)
        while not running.running():
            time.sleep(0.01)
        pending = [ex.submit(slow, 0) for _ in range(12)]
        last = pending[-1]
        print(last.cancel(), last.cancelled(), last.done(), last.running(), running.cancel())
        try:
            last.result()
        except concurrent.futures.CancelledError:
            print("cancelled")
        print(running.result(), running.done(), running.cancelled(), [f.result() for f in pending[:-1]])
