"""result, exception, as_completed and map with a timeout that is too short."""

import concurrent.futures, time
from under_test import Executor


def slow(n):
    time.sleep(n)
    return n


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        future = ex.submit(slow, 1)
        for wait in (future.result, future.exception):
            try:
                wait(timeout=0.01)
            except concurrent.futures.TimeoutError as error:
                print("timeout", isinstance(error, TimeoutError), repr(error))
        try:
            list(concurrent.futures.as_completed([future], timeout=0.01))
        except TimeoutError as error:
            print(error)
        try:
            list(ex.map(slow, [1], timeout=0.01))
        except TimeoutError:
            print("map timeout")
        print(future.result())
