"""A run that is resumed: what earlier programs did, and which of their calls come again."""
