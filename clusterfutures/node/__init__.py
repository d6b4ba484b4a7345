"""What runs inside a job: a supervisor, and the processes that it forks.

    main.py        the entry: context, versions, then the supervisor
    supervisor.py  one loop: claims bins, hands calls to slots, publishes what they report
    books.py       which slot works on which bin, and what the client learns of it
    claim.py       a claimed bin, and how much of it to hand over at a time
    lookout.py     when to look at the queue, and which bin to try for
    pace.py        whether there is time for more before the job's time limit
    beats.py       saying that the worker lives
    outbox.py      what is to be reported, gathered into segments
    patience.py    waiting for a disk that is full, or read-only
    ending.py      the reasons of a worker to end, the obituary of a process
    kills.py       ending calls that nobody wants any more
    signals.py     signals as something to wait for
    kin.py         who dies with whom
    slot.py        the supervisor's side of one process: fork, pipes, judge of its death
    arena.py       memory that both sides share and that outlives the process
    process.py     the process: runs calls, one at a time
    loading.py     functions and arguments from what the client pickled
    late.py        what a process imports late
    wording.py     what a call returned or raised, as bytes
    output.py      what each call wrote to stdout and stderr
    descriptors.py the limit of open files
    limit.py       how long the job has left
    memory.py      what its processes have in memory, and when that is said
    notice.py      telling a running call that the time limit is near
    sharing.py     what is given back when others have nothing to do
    share.py       the slot's share of the job's cores and GPUs

    queue/ --claim--> Supervisor --pipe--> process: fn(*args)
    results/ <--segment-- Supervisor <--pipe-- records

The supervisor is single-threaded and never runs user code, so it may fork at any time
and outlives whatever a call does to its process.  It imports ``store/`` and never
``client/``.
"""
