"""Batch jobs from Python: one command or function, one job, one directory.

    submit() -> Job --files.py--> <base>/<name>-<token>/ --scheduler--> run.sh on a node
                 ^                  job.json, run.sh, out, err, exit          |
                 +------- wait, get ------+<---------------------------------+

``job`` has the Job, what its files say of it, and how jobs are found by their directories; ``request``
what is to be run, ``submission`` its way to the scheduler, ``dependencies`` what it waits for,
``status`` how it is doing, ``files`` its directory, ``function`` what runs a function on the node.
``array`` makes one job for each of many inputs (``template`` puts them into the command),
``scripts`` submits files (``directives`` reads what they ask for).  ``directories`` are where jobs are.
``queue`` has everybody's jobs as the scheduler lists them, ``cleaning`` removes what jobs wrote.
The directory holds all that another program needs: ``Job.attach(path)``.
"""
