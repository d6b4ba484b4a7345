"""How things end: the reasons of a worker, and what is said of a process that died."""

from __future__ import annotations

import enum
import os
import pickle
from collections.abc import Iterable
from typing import Any

from clusterfutures.node import output
from clusterfutures.node.signals import signal_name
from clusterfutures.node.slot import Death, Slot
from clusterfutures.store import records
from clusterfutures.store.run import RunDirectory

__all__ = ["Ending", "killed", "last_words", "obituary"]


class Ending(enum.Enum):
    """Why a worker ended."""

    IDLE = "idle"
    CLOSED = "closed"
    ENOUGH = "took as many bins as one job may"
    AVOIDED = "others have died on this host"
    TIME = "too little is left of its time limit"
    SIGNAL = "signal"
    INITIALIZER = "initializer"
    GONE = "the run directory is gone"
    GIVEN_UP = "its program counts on it no more"
    FAULT = "fault"


def last_words(ending: Ending | None, signals: Iterable[int], text: str) -> dict[str, Any]:
    """What a worker says of its end."""
    return {
        "why": (ending or Ending.FAULT).name,
        "signals": [signal_name(number) for number in sorted(signals)],
        "text": text,
    }


def killed(slot: Slot, death: Death, bin_id: int, call: int) -> bytes:
    """The record of a call that was ended because nobody wanted it any more."""
    body = _what_it_wrote(slot, death) + output.tail(slot.log, death.output).encode()
    return records.pack(records.KILLED, bin_id, call, 1, body, records.INFO)


def obituary(run: RunDirectory, slot: Slot, death: Death, bin_id: int, first: int, stop: int) -> bytes:
    """The record of calls ``first`` up to ``stop``, which killed their process."""
    body = {
        "signal": signal_name(death.signal),
        "exit_code": death.exit_code,
        "pid": death.pid,
        "log": run.log_path(slot.log_name),
        "tail": output.tail(slot.log, death.output),
        "loading": death.loading,
        "cut_off": death.cut_off,
    }
    packed = _what_it_wrote(slot, death) + pickle.dumps(body, 5)
    return records.pack(records.DIED, bin_id, first, stop - first, packed, records.INFO)


def _what_it_wrote(slot: Slot, death: Death) -> bytes:
    """Where the output of a call stands that ended with its process: all that is known of it."""
    end = os.fstat(slot.log).st_size
    return records.pack_info(records.CallInfo(0.0, -1.0, 0.0, 0, slot.number, death.output, end, b""))
