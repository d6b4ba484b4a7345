"""The shared directory: the only place that knows file names and formats.

    names.py    every file name, made and parsed              (pure)
    frames.py   bytes to frames: length and checksum          (pure)
    records.py  what a worker reports, packed into bytes      (pure)
    files.py    publish, list, read, claim: the file system's five verbs
    run.py      the run directory, in the words of the design
    owner.py    which program may change it

``client/`` and ``node/`` both import this package and never each other: what they have
to say to one another they say through it.
"""
