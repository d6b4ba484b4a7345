"""Several threads of the program use one executor."""

import threading
from under_test import Executor

results = {}


def work(n):
    return n * 10


def use(ex, n):
    results[n] = [ex.submit(work, n + i).result() for i in range(3)]


if __name__ == "__main__":
    with Executor(max_workers=2) as ex:
        threads = [threading.Thread(target=use, args=(ex, n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(sorted(results.items()))
