"""What runs inside a job: a supervisor, and the processes that it forks.

    queue/ --claim--> Supervisor --pipe--> process: fn(*args)
    results/ <--segment-- Supervisor <--pipe-- records

    main.py           the entry: context, versions, then the supervisor
    supervisor.py     one loop: claims bins, hands calls to slots, publishes what they report
    queue.py          when to look at the queue, and which bin to try for
    claims.py         which slot works on which bin, how much of it at a time, and what the client learns
    rebalance.py      what is given back when others have nothing to do; calls that nobody wants any more
    reporter.py       what is to be reported, gathered into segments
    heartbeat.py      saying that the worker lives
    slot.py           the supervisor's side of one process: fork, pipes, judge of its death
    process.py        the process: runs calls, one at a time
    shared_memory.py  memory that both sides share and that outlives the process
    deserialize.py    functions and arguments from what the client pickled
    serialize.py      what a call returned or raised, as bytes
    capture.py        what each call wrote to stdout and stderr
    lazy_imports.py   what a process imports late
    signals.py        signals as something to wait for, and who dies with whom
    time_limit.py     how long the job has left, what still fits, and telling a running call
    memory.py         what its processes have in memory, and when that is said
    affinity.py       the slot's share of the job's cores and GPUs
    descriptors.py    the limit of open files
    disk_full.py      waiting for a disk that is full, or read-only

The supervisor is single-threaded and never runs user code, so it may fork at any time
and outlives whatever a call does to its process.  It imports ``store/`` and never
``client/``.
"""
