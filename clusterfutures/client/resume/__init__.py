"""A run that is gone on with: what earlier programs did, and which of their calls come again."""
