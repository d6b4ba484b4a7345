"""A file system that answers ESTALE now and then: on the nodes and in the program.

install(paths, rate) -> the verbs of ``os`` that name a file below one of ``paths`` fail at random,
                        half of them before they have done anything, half of them afterwards
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["install", "on_the_nodes"]

VERBS = ("open", "rename", "listdir", "unlink", "mkdir", "rmdir")


def install(paths: Sequence[str], rate: float) -> None:
    """Let one in ``1 / rate`` uses of a verb fail, in this process and in those that it forks."""
    chance = random.Random()
    os.register_at_fork(after_in_child=chance.seed)
    for verb in VERBS:
        setattr(os, verb, _failing(getattr(os, verb), tuple(paths), rate, chance, verb == "open"))


def _failing(
    original: Callable[..., Any], paths: tuple[str, ...], rate: float, chance: random.Random, before: bool
) -> Callable[..., Any]:
    def failing(*arguments: Any, **options: Any) -> Any:
        path = arguments[0] if arguments else "."
        if not isinstance(path, str) or not path.startswith(paths) or chance.random() >= rate:
            return original(*arguments, **options)
        if not before and chance.random() < 0.5:  # what was opened would stay open
            original(*arguments, **options)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)

    return failing


def on_the_nodes(directory: Path, paths: Sequence[str], rate: float) -> None:
    """Have each Python that finds ``directory`` in PYTHONPATH do the same."""
    directory.mkdir()
    text = f"import sys\nsys.path.append({str(Path(__file__).parent)!r})\n"
    text += f"import soak_stale\nsoak_stale.install({list(paths)!r}, {rate!r})\n"
    (directory / "sitecustomize.py").write_text(text)
