"""Batch jobs from Python: one command or function, one job, one directory.

    submit() -> Job --files.py--> <base>/<name>-<token>/ --scheduler--> run.sh on a node
                 ^                  job.json, run.sh, out, err, exit          |
                 +------- wait, get ------+<---------------------------------+

``job`` has the Job, ``request`` what is to be run, ``watch`` how it is doing, ``files`` its
directory, ``function`` what runs a function on the node, ``queue`` everybody's jobs as the
scheduler lists them, ``cleaning`` removes what jobs wrote.
The directory holds all that another program needs: ``Job.attach(path)``.
"""
