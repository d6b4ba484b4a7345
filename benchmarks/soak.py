#!/usr/bin/env python3
"""Hours of bad luck in minutes: random faults while calls go on, on a real Slurm.

    python3 benchmarks/soak.py [--minutes 15] [--calls 50000] [--seed N]

    programs (a thread each)                    havoc (soak_faults.py)
      plain:   runs in a directory                kill -9 of processes and of supervisors
      lagging: through caches that lag 10 s       scancel; slurmd killed, alone or with its jobs
      small:   on a disk that gets full           the disk filled, and freed again
      stale:   verbs of it fail with ESTALE       squeue that answers nothing for 12 s, or what it said before
          | waves of calls and maps,              supervisors that stand still for a while
          | new executors                         a node DOWN while its jobs work: they run again elsewhere
          v
      tally: every call is right, or ends with an error that a fault explains; none is left, and none
             begins twice (a file has what has begun), but where retries are allowed

It ends with what was done and seen, and with 1 when a result was wrong, a future did not end,
or a job, process or file was left behind.  It needs root (mounts), bindfs, slurm-wlm, munge.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import environments

#: seconds that the calls of a wave may take in all, faults included
WAVE_SECONDS = 300.0
WAVE = 400
#: the share of waves that are a map
MAPS = 0.3
#: the share of file operations that fail for the program ``stale``
STALE = 0.003
#: waves until an executor is shut down and another one made
WAVES_OF_AN_EXECUTOR = 6
LEAVING_SECONDS = 60.0


class Tally:
    """What became of the calls; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []

    def note(self, outcome: str, number: int = 1) -> None:
        with self._lock:
            self.outcomes[outcome] += number

    def blame(self, what: str) -> None:
        """Something that must not be."""
        with self._lock:
            self.wrong.append(what)
        print(f"WRONG: {what}", file=sys.stderr, flush=True)

    @property
    def calls(self) -> int:
        with self._lock:
            return self.outcomes.total()


class Program(threading.Thread):
    """One user's program: wave after wave of calls, until ``over`` is set."""

    def __init__(
        self, name: str, runs: Path, notes: Path, tally: Tally, seed: int, over: threading.Event, **options: Any
    ) -> None:
        super().__init__(name=name)
        self._explained = {"WorkerDied", "JobFailed", *(["StoreError"] if name == "small" else [])}
        self.runs = runs
        self.waves = 0
        self._tally = tally
        self._chance = random.Random(f"{seed}{name}")
        self._over = over
        self._options = options
        self._log = notes / f"begun-{name}"
        self._number = 0

    def begun_twice(self) -> list[int]:
        """The calls that were begun more than once, and must not be."""
        if "retries" in self._options or not self._log.exists():
            return []
        return [number for number, times in Counter(map(int, self._log.read_text().split())).items() if times > 1]

    def run(self) -> None:
        try:
            while not self._over.is_set() and not self._tally.wrong:
                self._one_executor()
        except BaseException as error:
            self._tally.blame(f"{self.name} ended: {type(error).__name__}: {error}")
            raise

    def _one_executor(self) -> None:
        from clusterfutures import SlurmExecutor

        with SlurmExecutor(4, directory=self.runs, **self._options) as executor:
            for _ in range(WAVES_OF_AN_EXECUTOR):
                if self._over.is_set() or self._tally.wrong:
                    return
                self._wave(executor)
                self.waves += 1

    def _wave(self, executor: Any) -> None:
        plan = [(number, self._chance.choice((0.0, 0.0, 0.001, 0.01, 0.02))) for number in range(WAVE)]
        plan[self._chance.randrange(WAVE)] = (-1, 1.0)
        if self._chance.random() < MAPS:
            self._map(executor, plan)
            return
        futures = {future: pair for pair in plan if (future := self._submit(executor, pair)) is not None}
        done, left = wait(futures, WAVE_SECONDS)
        for future in left:
            self._tally.blame(f"{self.name}: {futures[future]} did not end within {WAVE_SECONDS:g} s: {future!r}")
        for future in done:
            self._judge(future, futures[future])

    def _map(self, executor: Any, plan: list[tuple[int, float]]) -> None:
        """The same as a ``map``, in chunks of which a worker has done a part when something happens to it."""
        import calls

        numbers = range(self._number + 1, self._number + 1 + len(plan))
        self._number += len(plan)
        done = 0
        try:
            results = executor.map(calls.noted_nap, [str(self._log)] * WAVE, numbers, plan, timeout=WAVE_SECONDS)
            for pair, result in zip(plan, results, strict=True):
                done += 1
                if result != pair[0]:
                    self._tally.blame(f"{self.name}: {pair} gave {result!r} in a map")
        except TimeoutError:
            self._tally.blame(f"{self.name}: a map did not end within {WAVE_SECONDS:g} s")
        except Exception as error:
            self._judge_error(error)
        self._tally.note("right", done)

    def _submit(self, executor: Any, pair: tuple[int, float]) -> Any:
        """None where the disk is full: then the call is refused at once."""
        import calls

        try:
            self._number += 1
            return executor.submit(calls.noted_nap, str(self._log), self._number, pair)
        except Exception as error:
            self._judge_error(error)
            return None

    def _judge(self, future: Any, pair: tuple[int, float]) -> None:
        error = future.exception()
        if error is not None:
            self._judge_error(error)
            return
        self._tally.note("right")
        if future.result() != pair[0]:
            self._tally.blame(f"{self.name}: {pair} gave {future.result()!r}")

    def _judge_error(self, error: BaseException) -> None:
        """Is it one that the faults explain, and does it say so?"""
        name = type(error).__name__
        self._tally.note(name)
        if name not in self._explained or not str(error):
            self._tally.blame(f"{self.name}: {name}: {error}")


def main() -> int:
    """See the module's docstring."""
    options = _parsed()
    environments.enter_own(always=False)
    sys.path.insert(1, str(environments.ROOT / "tests"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(environments.HERE), str(environments.ROOT)])
    print(f"seed {options.seed}", flush=True)
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cfsoak-")))
        return _soak(base, options, stack)


def _soak(base: Path, options: argparse.Namespace, stack: contextlib.ExitStack) -> int:
    import soak_faults
    import soak_stale
    from lagging import LaggingDirectory, LaggingSlurm

    small = base / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(small)], check=True)
    stack.callback(subprocess.run, ["umount", "--lazy", str(small)], check=False)
    lagging = LaggingDirectory()  # from here on in a mount namespace of our own, with the small disk in it
    stack.callback(lagging.close)
    slurm = stack.enter_context(LaggingSlurm(lagging))
    os.environ.update(slurm.environment)
    stale = base / "stale"
    soak_stale.install([str(stale)], STALE)
    soak_stale.on_the_nodes(base / "nodes", [str(stale)], STALE)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(base / "nodes"), os.environ["PYTHONPATH"]])
    liar = soak_faults.Liar(base / "commands")
    tally, over = Tally(), threading.Event()
    programs = [
        Program("plain", base / "plain", base, tally, options.seed, over, retries=2),
        Program("lagging", lagging.runs(), base, tally, options.seed, over),
        Program("small", small / "runs", base, tally, options.seed, over),
        Program("stale", stale, base, tally, options.seed, over),
    ]
    havoc = soak_faults.Havoc(slurm, [program.runs for program in programs], small, options.seed, over, liar)
    begun = time.monotonic()
    for thread in (*programs, havoc):
        thread.start()
    while not tally.wrong and (time.monotonic() - begun < 60 * options.minutes or tally.calls < options.calls):
        time.sleep(1.0)
    over.set()
    havoc.join()
    for program in programs:
        program.join(2 * WAVE_SECONDS)
        if program.is_alive():
            tally.blame(f"{program.name} does not end")
    for program in programs:
        if twice := program.begun_twice():
            tally.blame(f"{program.name}: calls begun twice: {twice[:10]}")
    for left in soak_faults.left_behind(slurm, [program.runs for program in programs], LEAVING_SECONDS):
        tally.blame(f"left behind: {left}")
    _report(tally, havoc, programs, time.monotonic() - begun)
    return 1 if tally.wrong else 0


def _report(tally: Tally, havoc: Any, programs: list[Program], seconds: float) -> None:
    print(
        f"{seconds / 60:.1f} minutes, {tally.calls:,} calls, "
        + ", ".join(f"{p.waves} waves {p.name}" for p in programs)
    )
    print("faults:   " + ", ".join(f"{number} {name}" for name, number in havoc.done.most_common()))
    print("outcomes: " + ", ".join(f"{number:,} {name}" for name, number in tally.outcomes.most_common()))
    print(f"wrong:    {len(tally.wrong)}" + "".join(f"\n  {what}" for what in tally.wrong[:20]))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0, help="at least so long (15)")
    parser.add_argument("--calls", type=int, default=50_000, help="and at least so many calls (50,000)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10_000), help="of all that is random"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
