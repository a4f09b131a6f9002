"""Performance reports of others: Xcode's Core ML reports first, TFLite's and ONNX Runtime's beside them.

    files ──intake──► documents ──formats──► Report (the normal form, report.py)
                                               ├─ stage, noise ........ statistics and how far they can be trusted
                                               ├─ placement ........... which compute unit runs what
                                               ├─ manifest, join ...... back to the export and its PyTorch modules
                                               ├─ estimate, published . time per module; the authors' own latencies
                                               ├─ store, compare ...... reports that accumulate, side by side
                                               └─ rules, gate, verdicts  pass, fail or too noisy
    redact, share ── copies of a report without what names a person

What a report looks like is known from three public ones and Apple's article; what is inferred says so when it is read.
"""

from .document import ReportError
from .formats import FORMATS, holds_report, read_report
from .intake import Document, find_documents
from .report import Report

__all__ = ["FORMATS", "Document", "Report", "ReportError", "find_documents", "holds_report", "read_report"]
