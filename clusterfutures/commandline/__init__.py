"""What both command lines share: words, completion, the guard around a command."""
