# better: ProcessPoolExecutor pickles an argument some time after submit, so a change right after it may leak in
"""An argument that the program changes right after submit."""

from under_test import Executor


def total(numbers):
    return sum(numbers), len(numbers)


if __name__ == "__main__":
    big = list(range(200_000))
    with Executor(max_workers=1) as ex:
        futures = []
        for n in range(5):
            futures.append(ex.submit(total, big))
            big.clear() if n == 4 else big.pop()
        assert [f.result()[1] for f in futures] == [200_000 - n for n in range(5)]
    print("done")
