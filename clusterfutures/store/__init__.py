"""The shared directory: the only place that knows file names and formats.

    names.py          every file name, made and parsed              (pure)
    frames.py         bytes to frames: length and checksum          (pure)
    bins.py           the calls of a bin, packed into bytes         (pure)
    records.py        what a worker reports, packed into bytes      (pure)
    references.py     what stands for another call's result
    bootstrap.py      what a job's script says to become a worker
    filesystem.py     publish, list, read, take, discard: the file system's five verbs
    faults.py         which of its errors pass, and what to do about the others
    run_directory.py  the run directory: the protocol of client and workers
    gathered.py       what has been read, in few files
    history.py        what earlier programs left in it
    parents.py        directories above it: who could put another in its place
    ownership.py      which program may change it; runs with a name

``client/`` and ``node/`` both import this package and never each other: what they have
to say to one another they say through it.
"""
