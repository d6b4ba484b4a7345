"""What travels between the program and a node: functions and classes by value, locks, what cannot travel."""
