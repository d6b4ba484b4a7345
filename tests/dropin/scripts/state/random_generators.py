"""Random generators of the script keep their state, and go on in the process."""

import random
from under_test import Executor

RNG = random.Random(5)


def draw(n):
    return [RNG.randrange(1000) for _ in range(n)]


def seeded(seed):
    generator = random.Random(seed)
    return generator.random()


def reseed(seed):
    random.seed(seed)
    return random.random(), random.randint(1, 100)


if __name__ == "__main__":
    with Executor(max_workers=1) as ex:
        print(
            ex.submit(draw, 2).result(),
            ex.submit(draw, 2).result(),
            list(ex.map(seeded, range(3))),
            ex.submit(reseed, 1).result(),
        )
    print(RNG.randrange(1000))
