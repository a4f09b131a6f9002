"""The report that people look at: an export, a profile or performance reports as HTML, Markdown or JUnit XML.

    report (JSON form) ── source.py ──► Page (blocks.py) ── html.py, markdown.py, junit.py ──► one file

`of_export.py` and its neighbours say what a report of a kind tells, in blocks that know no format; a format says how
each block looks, and knows no kind of report. `FORMATS` and `source.KINDS` are the two tables.
"""

from __future__ import annotations

FORMATS = {"html": ".html", "md": ".md", "json": ".json", "junit": ".xml"}
"""What `--report` takes → the ending of the file."""
