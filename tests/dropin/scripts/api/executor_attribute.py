"""An object that holds an executor and submits plain functions; static and class methods."""

from under_test import Executor


class Runner:
    def __init__(self):
        self.executor = Executor(max_workers=1)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.executor.shutdown()

    @staticmethod
    def square(n):
        return n * n

    @classmethod
    def named(cls, n):
        return cls.__name__, n

    def run(self, numbers):
        return [f.result() for f in [self.executor.submit(self.square, n) for n in numbers]]

    def method(self, n):
        return n


if __name__ == "__main__":
    with Runner() as runner:
        print(
            runner.run(range(3)),
            runner.executor.submit(Runner.named, 1).result(),
            list(runner.executor.map(Runner.square, range(3))),
        )
        print(runner.executor.submit(runner.method, 1).exception() is not None)
