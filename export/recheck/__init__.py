"""Files checked again, after they were exported: `fuseport check`, its baseline, and what `assert_parity` stands on.

files ── targets.py ──► Target (file, reference, job) ── recheck.py ──► reports ── watch.py, drift.py ──► baseline
"""
