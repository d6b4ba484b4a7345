"""CPython's test classes with ours in the place of the process pool, and what is left out.

The tests themselves are the interpreter's own.  A method stands here only where one of
them would otherwise look into ``ProcessPoolExecutor``; it adapts that and goes on to it.

Whole classes that are not here: those of thread pools, ``FutureTests`` (``Future`` alone,
without an executor), and ``FailingInitializerResourcesTest`` (``multiprocessing``'s
resource tracker).
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any
from unittest import mock

from test import support
from test.support.script_helper import assert_python_ok

from clusterfutures.errors import RemoteTraceback
from cpython import sources

__all__ = ["CLASSES", "EXCLUDED"]

#: All that is not run, and why: it is about the inside of ``ProcessPoolExecutor``.
EXCLUDED = {
    "ExecutorTest.test_max_workers_too_large": "the most handles that Windows waits for",
    "ExecutorTest.test_killed_child": "kills through _processes and wants the pool broken for ever; ours lives on",
    "ExecutorTest.test_saturation": "counts _processes that wait for a semaphore which only a child can inherit",
    "ExecutorTest.test_max_tasks_per_child_defaults_to_spawn_context": "reads _mp_context",
    "ShutdownTest.test_processes_terminate": "counts _processes that wait for a semaphore which only a child inherits",
}


#: the same of tests that came with Python 3.14 and 3.15, and with later versions of 3.13
_EXCLUDED_WHERE_THEY_ARE = {
    "ExecutorTest.test_broken_process_pool_traceback": "kills through _processes and wants all calls to fail",
    "ExecutorTest.test_failed_worker_replacement_breaks_pool": "lets the private _spawn_worker fail",
    "ExecutorTest.test_force_shutdown_during_max_tasks_worker_exit": "sets the private _force_shutting_down",
    "ExecutorTest.test_force_shutdown_workers": "counts calls of methods of the children in _processes",
    "ExecutorTest.test_force_shutdown_workers_invalid_op": "calls the private _force_shutdown",
    "ExecutorTest.test_gc_during_max_tasks_worker_exit_gh152967": (
        "wants calls to fail when nobody holds the executor any more; ours carries them out"
    ),
    "ExecutorTest.test_kill_workers": "puts a mock in the place of the private _force_shutdown",
    "ExecutorTest.test_terminate_workers": "puts a mock in the place of the private _force_shutdown",
    "ExecutorTest.test_traceback_when_child_process_terminates_abruptly": (
        "wants the pool's own words in a cause; ours says the exit status in the exception itself"
    ),
}


class BaseTestCase(sources.util.BaseTestCase):
    """What is only a warning for CPython is a failure here."""

    def setUp(self) -> None:
        support.gc_collect()  # before 3.12 an ended thread counts until its object is gone
        super().setUp()

    def tearDown(self) -> None:
        support.environment_altered = False
        support.gc_collect()
        super().tearDown()
        assert not support.environment_altered, "threads or child processes are left, see stderr"


class ClusterMixin(sources.util.ExecutorMixin):
    """In the place of ``ProcessPoolForkMixin`` and its like; the runner sets ``executor_type``."""

    executor_type: type[Executor]

    def get_context(self) -> Any:
        return multiprocessing.get_context("spawn")

    def create_event(self) -> Any:
        """For the tests of Python 3.14 and later."""
        if not hasattr(self, "_manager"):
            self._manager = self.get_context().Manager()
            self.addCleanup(self._manager.join)
            self.addCleanup(self._manager.shutdown)
        return self._manager.Event()

    def await_a_process(self) -> None:
        """For tests that take for granted that one is there at once: a job may have to wait for its node."""
        self.executor.submit(int).result()

    def replace(self, where: object, name: str, value: object) -> None:
        """Let ``where.name`` be ``value`` for the rest of the test."""
        self.enterContext(mock.patch.object(where, name, value, create=True))


class WaitTest(sources.wait.WaitTests, ClusterMixin, BaseTestCase):
    """``test_wait``"""

    def test_timeout(self) -> None:
        self.await_a_process()
        super().test_timeout()


class AsCompletedTest(sources.as_completed.AsCompletedTests, ClusterMixin, BaseTestCase):
    """``test_as_completed``"""


class InitializerTest(sources.init.InitializerMixin, ClusterMixin, BaseTestCase):
    """``test_init``"""


class FailingInitializerTest(sources.init.FailingInitializerMixin, ClusterMixin, BaseTestCase):
    """``test_init``, where the initializer raises."""

    @contextlib.contextmanager
    def _assert_logged(self, message: str) -> Iterator[None]:
        """Ours is logged where all of ours is logged."""
        with self.assertLogs("clusterfutures", "CRITICAL") as logs:
            yield
        assert message in "\n".join(logs.output)


class ExecutorTest(sources.process_pool.ProcessPoolExecutorTest, ClusterMixin, BaseTestCase):
    """``executor.py`` and ``test_process_pool``"""

    def setUp(self) -> None:
        super().setUp()
        if hasattr(sources.process_pool, "BrokenProcessPool"):
            self.replace(sources.process_pool, "BrokenProcessPool", BrokenExecutor)

    def test_map_timeout(self) -> None:
        self.await_a_process()
        super().test_map_timeout()

    def test_traceback(self) -> None:
        self.replace(futures.process, "_RemoteTraceback", RemoteTraceback)
        super().test_traceback()

    if hasattr(sources.process_pool.ProcessPoolExecutorTest, "test_shutdown_no_wait_max_tasks_gh119592"):

        def test_shutdown_no_wait_max_tasks_gh119592(self) -> None:
            # Its second half is as in test_gc_during_max_tasks_worker_exit_gh152967, see EXCLUDED.
            self._run_stranded_worker_exit_test(shutdown=True, drop_reference=False)

    if hasattr(sources.process_pool.ProcessPoolExecutorTest, "test_python_finalization_error"):

        def test_python_finalization_error(self) -> None:
            # No second thread can be started: for a process pool it ends there, for ours at once.
            self.replace(sources.process_pool, "BrokenProcessPool", RuntimeError)
            super().test_python_finalization_error()


class ShutdownTest(sources.shutdown.ProcessPoolShutdownTest, ClusterMixin, BaseTestCase):
    """``test_shutdown``"""

    if sources.IS_PACKAGE:  # before, it wants a call to have run that was cancelled at once (gh-116682)
        test_cancel_futures_wait_false = sources.shutdown.ThreadPoolShutdownTest.test_cancel_futures_wait_false

    def setUp(self) -> None:
        super().setUp()
        # Not the class itself: a test is skipped when it is equal to this.
        self.replace(futures, "ProcessPoolExecutor", functools.partial(self.executor_type))
        self.replace(sources.shutdown, "assert_python_ok", self._run_script)

    def test_cancel_futures(self) -> None:
        # It takes for granted that processes are there at once and have begun something; a job
        # may have to wait for its node, and calls that are cancelled before that never run.
        submit, shutdown = self.executor.submit, self.executor.shutdown
        made: list[Future[Any]] = []

        def shutdown_when_begun(*args: Any, **kwargs: Any) -> None:
            deadline = time.monotonic() + support.SHORT_TIMEOUT
            while not any(future.running() or future.done() for future in made) and time.monotonic() < deadline:
                time.sleep(0.001)
            shutdown(*args, **kwargs)

        self.executor.submit = lambda *args: made.append(submit(*args)) or made[-1]
        self.executor.shutdown = shutdown_when_begun
        super().test_cancel_futures()

    def _run_script(self, option: str, script: str) -> tuple[int, bytes, bytes]:
        """Run a test's script with ours, which prints what a call printed: no pipe leads
        from a call's stdout to the program's, as it does for a child process."""
        name = self.executor_type.__name__
        for theirs, ours in (
            (f"from concurrent.futures import {name}\n", f"from clusterfutures import {name}\n"),
            ("import ThreadPoolExecutor\n", f"import Executor; from clusterfutures import {name}\n"),
            ("ThreadPoolExecutor(", f"{name}("),
            ('"apple")', '"apple").add_done_callback(lambda done: print(done.output(), end="", flush=True))'),
        ):
            script = script.replace(theirs, ours)
        with tempfile.TemporaryDirectory() as directory:
            done = assert_python_ok(option, script, PYTHONPATH=os.environ["PYTHONPATH"], CLUSTERFUTURES_DIR=directory)
            assert os.listdir(directory) == [], done.err.decode()
        return tuple(done)


class DeadlockTest(sources.deadlock.ExecutorDeadlockTest, ClusterMixin, BaseTestCase):
    """``test_deadlock``"""

    TIMEOUT = 40.0

    def setUp(self) -> None:
        super().setUp()
        self.replace(sources.deadlock, "BrokenProcessPool", BrokenExecutor)

    def _fail_on_deadlock(self, executor: Executor) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__)
        executor.shutdown(wait=False, cancel_futures=True)
        self.fail("the call got neither a result nor an error; the stacks are on stderr")


CLASSES = {
    kind.__name__: kind
    for kind in (
        ExecutorTest,
        WaitTest,
        AsCompletedTest,
        InitializerTest,
        FailingInitializerTest,
        ShutdownTest,
        DeadlockTest,
    )
}
EXCLUDED |= {
    name: why for name, why in _EXCLUDED_WHERE_THEY_ARE.items() if hasattr(ExecutorTest, name.partition(".")[2])
}
