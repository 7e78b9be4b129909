"""The command line. Each command is a small file that imports what it needs when it runs."""
