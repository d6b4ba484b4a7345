"""What runs in the user's program: turns calls into bins, collects results, watches jobs.

caller --submit--> EventQueue --> ManagerThread, Dispatcher --bins--> queue/  ... node ... results/
                      ^             |    ^                                                    |
                      |             |    +--------- ResultCollector <-- segments -------------+
                      +--answers-- SchedulerThread <--submit, cancel, poll-- effects

client.py            one run: ties all together, from start to removal; what becomes of it when the program ends
startup.py           how a run is begun, or gone on with, and what its jobs find of the program
serialize.py         calls and functions to bytes; large buffers to ``objects/``, once
tasks.py             the two kinds of work: a call of ``submit``, a chunk of a ``map``
map.py               ``map``: chunks out, values in, in order
events.py            what the manager has to know, and where all threads leave it
manager.py           the thread that owns the dispatcher
dispatcher.py        every decision about calls, bins and workers: cutting bins, retries  (pure)
state.py             what it keeps, and how long calls take                               (pure)
scaling.py           how many workers a worker group should have                          (pure)
effects.py           how its decisions are carried out; calls that are to be ended
collector.py         how it looks at results, and what it will find there no more
workers.py           which job is which worker, and what became of it: lost jobs, bad hosts
silence.py           workers of which nothing is heard
scheduler_thread.py  the thread that runs the scheduler's commands
worker_groups.py     which jobs are submitted for which resources
results.py           records back to values and exceptions
failures.py          what is said when a job took calls with it
disk_space.py        a file system that is nearly full
bin_meta.py          what bins keep of their calls for a program that resumes the run
resume/              what earlier programs left in a run: its ``history``, which ``restore`` makes the
                     dispatcher's present; ``lookup`` finds their calls again, by ``tokenize``
"""
