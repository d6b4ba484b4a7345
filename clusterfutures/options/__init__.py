"""Everything that a user may set: the table of the options, files and profiles, what an executor makes of it."""
