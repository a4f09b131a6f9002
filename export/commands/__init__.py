"""The commands of `fuseport`, one file each: a file parses options, calls the library, prints, and sets the exit code.

Each file has a `command`; the table of them is in `cli.py`. The files load nothing heavy when they are imported.
"""
