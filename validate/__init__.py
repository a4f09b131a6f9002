"""Measure what was exported: how close it is to the model, what that check can see, and how fast it runs.

Everything here takes arrays by name, or functions that return them; no file of it imports a backend library or PyTorch.
"""
