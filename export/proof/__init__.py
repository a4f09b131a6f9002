"""Does a saved file compute what PyTorch computes?

file ── check.py ──► answers of every engine ──► verdict
  what precision must cost (rounded.py, graph_check.py) · what the check cannot see (cover.py, sensitivity.py)
  where a failed one goes wrong (findings.py ──► locate.py ──► layer_parity.py)
"""
