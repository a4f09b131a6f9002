"""Captured programs, rewritten into operators that the converters take to what PyTorch computes.

`legalize.py` is the way in for Core ML; each other file is a family of rewrites, exact in real arithmetic.
"""
