"""``cluf``: call a function of a script on many arguments, here or as jobs, from the shell.

    command line ─┐
    cluf_options ─┼─ reading ─> settings ─┬─ direct: this process deals arguments out to forked
    ~/.clufrc    ─┘   (table)             │          workers; outputs, progress, failures
                                          └─ dispatch: scripts, one a bin, each of them a cluf in
                                                       direct mode; submit them, follow them

``table`` declares every option once; parser, help, files, completion and README follow it.
"""
