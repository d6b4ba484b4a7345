"""PBS Pro, OpenPBS and Torque: the adapter, their dialects, and the readers of what their commands print."""
