"""Two saved files side by side, of whatever formats: what differs in what they compute, what they cost, and why.

    file ── of_onnx.py, of_mil.py ──► Contents ─┐
                                                ├─ compare.py ──► Difference ── reasons.py ──► what matters most, first
    file ── of_onnx.py, of_mil.py ──► Contents ─┘

`contents.py` is the form that both formats share; `weights.py` joins constants by what they hold, `contract.py` reads
what a file does to its pictures, `answers.py` runs both on the same inputs. Only that runs anything.
"""
