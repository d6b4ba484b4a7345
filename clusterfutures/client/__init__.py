"""What runs in the user's program: turns calls into bins, collects results, watches jobs.

pickling.py   calls and functions to bytes; large buffers to ``objects/``, once
snapshot.py   may the pickle of a function be used again?  repeated.py: large buffers that come again
work.py       the two kinds of work: a call of ``submit``, a chunk of a ``map``
inbox.py      where all threads leave what the pump has to know
messages.py   what they leave there, besides work
ledger.py     every decision about calls, bins and workers         (pure)
state.py      what it keeps; pace.py: how long calls take          (pure)
publishing.py the ledger's calls that no worker has become bins    (pure)
staffing.py   how many workers a pool should have                  (pure)
pump.py       the thread that owns the ledger
space.py      a file system that is nearly full
reader.py     how it looks at results; vanished.py: what it will find there no more
doubts.py     jobs that are missing in an answer; silence.py: workers of which nothing is heard
roster.py     which job is which worker, and what became of it; failures.py: what is said of that
outward.py    how the ledger's decisions are carried out
provision.py  which jobs are submitted for which resources
surroundings.py  what those jobs find again of the program's surroundings
kills.py      calls that are to be ended
clerk.py      the thread that runs the scheduler's commands
debts.py      jobs that the scheduler has still to cancel, and to find
outcomes.py   records back to values and exceptions
reruns.py     the ledger's calls that failed, for good or not      (pure)
mapping.py    ``map``: chunks out, values in, in order
client.py     one run: ties the above together, from start to removal; settings.py: its options
exits.py      what becomes of runs when their program ends, or forks

opening.py    how a run is begun, or gone on with: its directory, its owner, its past
past.py       what earlier programs left in it; adoption.py makes that the ledger's present
recall.py     calls that they made, found again by their identity.py; tags.py: what bins keep for that

caller --submit--> inbox --> pump (Ledger) --bins--> queue/   ... node ... results/
                     ^        |     ^                                         |
                     |        |     +-------------- segments -----------------+
                     +--answers-- clerk <--submit, cancel, poll-- pump
"""
