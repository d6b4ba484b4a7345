"""A multiprocessing lock given to all processes by the initializer."""

import multiprocessing, os, time
from under_test import Executor

lock = None


def prepare(given):
    global lock
    lock = given


def add(n):
    with lock:
        with open("count") as file:
            count = int(file.read())
        time.sleep(0.002)
        with open("count", "w") as file:
            file.write(str(count + n))


def methods():
    first = lock.acquire(timeout=5)
    second = lock.acquire(block=False)
    lock.release()
    try:
        lock.release()
    except ValueError:
        return first, second, "ValueError"


if __name__ == "__main__":
    with open("count", "w") as file:
        file.write("0")
    with Executor(max_workers=2, initializer=prepare, initargs=(multiprocessing.Lock(),)) as ex:
        list(ex.map(add, [1] * 20))
        with open("count") as file:
            print(file.read())
        print(ex.submit(methods).result())
