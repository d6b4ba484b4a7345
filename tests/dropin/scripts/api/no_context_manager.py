"""No with block and no shutdown: the program waits for its calls."""

import time
from under_test import Executor


def work(n):
    time.sleep(n)
    return n


if __name__ == "__main__":
    ex = Executor(max_workers=1)
    future = ex.submit(work, 0.2)
    future.add_done_callback(lambda f: print("done", f.result(), flush=True))
    print("end of the program", flush=True)
