"""Locks, events, conditions and thread-local data of the module, which functions use."""

import threading
from under_test import Executor

LOCK = threading.Lock()
RLOCK = threading.RLock()
READY = threading.Event()
CONDITION = threading.Condition()
LIMIT = threading.Semaphore(2)
LOCAL = threading.local()


class Safe:
    lock = threading.Lock()
    count = 0

    def up(self):
        with self.lock:
            type(self).count += 1
        return Safe.count


def locked(n):
    with LOCK, RLOCK, CONDITION, LIMIT:
        return n + 1


def local(n):
    LOCAL.n = getattr(LOCAL, "n", 0) + n
    return LOCAL.n


def ready():
    return READY.is_set()


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(locked, 1).result(), [ex.submit(local, 2).result() for _ in range(2)], ex.submit(ready).result()
        )
        print([ex.submit(Safe().up).result() for _ in range(2)])
