# needs: tqdm
"""tqdm around as_completed and map; process_map-like use with its lock."""

from concurrent.futures import as_completed
from tqdm import tqdm
from under_test import Executor


def work(n):
    return n * 2


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=tqdm.set_lock, initargs=(tqdm.get_lock(),)) as ex:
        print(sorted(f.result() for f in tqdm(as_completed([ex.submit(work, n) for n in range(3)]), total=3)))
        print(list(tqdm(ex.map(work, range(3)), total=3)))
