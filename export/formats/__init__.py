"""One file per format: whether it can be made here, making it, and running it.

A format is a module with NAME, SUFFIX, EXTRA, `check(request)`, `convert(program, …)` and `runner(artifact)`, named in
the tuple of `export/__init__.py`. The other files here are parts of one of them.
"""
