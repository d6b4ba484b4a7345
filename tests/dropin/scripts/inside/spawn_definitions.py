"""What processes by fork, spawn and forkserver find of the script: classes, enums, closures' helpers, constants, modules."""

import concurrent.futures, dataclasses, enum, functools, multiprocessing, operator
from under_test import Executor

HOWS = ("fork", "spawn", "forkserver")
FACTORS = {"a": 2, "b": 3}


class Kind(enum.Enum):
    A = "a"
    B = "b"


@dataclasses.dataclass
class Row:
    kind: Kind
    value: int = 1

    @classmethod
    def made(cls, kind):
        return cls(kind, 5)

    def grown(self):
        return dataclasses.replace(self, value=grown(self.kind, self.value))


class Odd(ValueError):
    pass


@functools.cache
def grown(kind, value):
    return FACTORS[kind.value] * value


def fail(row):
    raise Odd(row.kind)


def total(rows):
    return functools.reduce(operator.add, (row.value for row in rows))


def begin(value):
    global started
    started = value


def get(_):
    import __main__

    return started, __main__.Kind is Kind, sorted(FACTORS)


def rows(how):
    context = multiprocessing.get_context(how)
    with context.Pool(2, begin, (7,)) as pool:
        grown = pool.map(Row.grown, [Row(Kind.A), Row.made(Kind.B)])
        try:
            pool.apply(fail, (Row(Kind.B),))
        except Odd as error:
            failed = type(error) is Odd, error.args[0] is Kind.B
        found = pool.map(get, range(2))
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as made:
        same = made.submit(Row.made, Kind.A).result()
    return grown, total(grown), failed, found, same == Row(Kind.A, 5), isinstance(same, Row)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        for how in HOWS:
            print(how, ex.submit(rows, how).result(60))
