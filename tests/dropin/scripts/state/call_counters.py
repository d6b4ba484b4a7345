"""Globals that calls change stay changed in that process, for all functions of the script."""

from under_test import Executor

count = 0
total = [0]


def up(n):
    global count
    count += n
    total[0] += n
    return count


def look():
    return count, total


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            [ex.submit(up, n).result() for n in (1, 2, 3)],
            ex.submit(look).result(),
            list(ex.map(up, [10, 20])),
            ex.submit(look).result(),
        )
    print(count, total)
