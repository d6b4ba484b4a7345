"""Threads and thread pools inside a call; the call runs in its process's main thread."""

import concurrent.futures, queue, threading
from under_test import Executor


def helper(n):
    return n + 1


def pool(n):
    with concurrent.futures.ThreadPoolExecutor(2) as made:
        return list(made.map(helper, range(n)))


def produced(n):
    items = queue.Queue()
    thread = threading.Thread(target=lambda: [items.put(i) for i in range(n)])
    thread.start()
    thread.join()
    return [items.get() for _ in range(n)]


def main_thread():
    return threading.current_thread() is threading.main_thread()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(pool, 3).result(), ex.submit(produced, 3).result(), ex.submit(main_thread).result())
