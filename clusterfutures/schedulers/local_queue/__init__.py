"""The queue of one machine, for jobs that outlive the program that submitted them.

    submit, cancel                         starts, ends
    program ----------> queue.db <--------> keeper ------> minder (sh) ---> the job's script
       ^    states, queue  |                  ^                |
       +-------------------+                  +---- runs/ <----+
                             who has started, and how it ended

``adapter`` is the scheduler as ``jobs/`` sees it; ``table`` the file that holds all jobs;
``packing`` decides what starts (pure); ``keeper`` is the one process that carries it out;
``minder`` the shell around each job, which says how it ended even when there is no keeper.

There is no server: the keeper is started by whatever command finds work and no keeper, and
ends when there is nothing left to do.  One that is killed loses nothing: its jobs go on, their
minders note how they end, and the next keeper reads it there.  All is in ``place``'s directory,
which is the user's alone.
"""
