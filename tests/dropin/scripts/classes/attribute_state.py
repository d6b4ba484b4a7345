"""What a call changes in a class, a later call of the same process sees."""

from under_test import Executor


class Counter:
    count = 0
    seen = []

    @classmethod
    def up(cls):
        cls.count += 1
        cls.seen.append(cls.count)
        return cls.count


class Config:
    ready = None


def up():
    return Counter.up()


def look():
    return Counter.count, Counter.seen, Config.ready


def prepare(value):
    Config.ready = value


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=prepare, initargs=("yes",)) as ex:
        print([ex.submit(up).result() for _ in range(3)], ex.submit(Counter.up).result(), ex.submit(look).result())
    print(Counter.count, Counter.seen, Config.ready)
