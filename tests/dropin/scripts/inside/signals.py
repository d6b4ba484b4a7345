"""Signal handlers and alarms in a call."""

import signal, time
from under_test import Executor


class TooLong(Exception):
    pass


def stop(number, frame):
    raise TooLong(number)


def limited(seconds, limit):
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        time.sleep(seconds)
    except TooLong:
        return "too long"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "done"


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(ex.submit(limited, 60, 0.05).result(), ex.submit(limited, 0, 60).result())
