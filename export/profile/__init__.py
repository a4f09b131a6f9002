"""How fast models and files are, measured side by side: `fuseport profile`.

given ── contestants.py ──► contestants ── profiling.py ──► ProfileReport (profile_report.py)
"""
