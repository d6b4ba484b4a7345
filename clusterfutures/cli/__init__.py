"""The command ``clusterfutures``: jobs, queue, configuration and profiles from a shell.

    words --main--> one of the commands of ``table`` --words--> options --> submitting, looking,
                    cleaning, configuring --> text for people, or --json for programs

``words``, ``completion`` and ``guard`` read a command line, complete it and turn errors into
exit statuses for ``cluf`` as well; they import nothing else of the package.
"""
