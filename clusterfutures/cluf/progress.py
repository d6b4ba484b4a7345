"""How far the work is: a bar on a terminal, else a line now and then; always on stderr."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

_BAR_SECONDS = 0.1
_LINE_SECONDS = 15.0
_WIDTH = 30


class Progress:
    """total: how many there are to do, None when nobody knows.  what: their name."""

    def __init__(self, total: int | None, what: str = "calls") -> None:
        self._total = total
        self._what = what
        self._bar = sys.stderr is not None and sys.stderr.isatty()
        self._began = self._last = time.monotonic()
        self._shown = False

    def show(self, done: int, failed: int) -> None:
        """Say it, unless it was said a moment ago."""
        now = time.monotonic()
        if now - self._last < (_BAR_SECONDS if self._bar else _LINE_SECONDS):
            return
        self._last, self._shown = now, True
        text = self._text(done, failed, now - self._began)
        sys.stderr.write(f"\r\x1b[K{text}" if self._bar else f"cluf: {text}\n")
        sys.stderr.flush()

    def _text(self, done: int, failed: int, seconds: float) -> str:
        bad = f", {failed} failed" if failed else ""
        if not self._total:
            return f"{done} {self._what}{bad}, {seconds:.0f} s"
        part = min(1.0, done / self._total)
        bar = "#" * int(_WIDTH * part)
        left = f", {seconds * (1 - part) / part:.0f} s left" if part else ""
        return f"[{bar:<{_WIDTH}}] {done}/{self._total} {self._what}{bad}{left}"

    def close(self) -> None:
        """Wipe the bar."""
        if self._bar and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
