"""A script with a parser, a main function and logging set up in it; calls read the parsed arguments."""

import argparse, functools, logging
from under_test import Executor

log = logging.getLogger(__name__)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=1)
    parser.add_argument("words", nargs="*")
    return parser.parse_args()


def work(options, n):
    log.debug("working on %s", n)
    return options.size * n, options.words


def reparse():
    return parse().size


def main():
    options = parse()
    logging.basicConfig(level=logging.WARNING)
    with Executor(max_workers=options.size) as ex:
        print(list(ex.map(functools.partial(work, options), range(3))))
        print(ex.submit(reparse).result())


if __name__ == "__main__":
    main()
