"""Saved files of any tool, opened: what they hold, what they compute, tensor by tensor, and what that costs."""
