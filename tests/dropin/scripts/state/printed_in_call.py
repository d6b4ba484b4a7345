# differs: what a call prints goes to future.output() and the job's log, not to the program's stdout
"""print in a call."""

from under_test import Executor


def work(n):
    print("in the call", n, flush=True)
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(work, 3).result())
