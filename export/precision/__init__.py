"""Mixed precision without a Mac: which operators of a float16 file must stay in float32, and why.

causes    what leaves the range of float16, and by how much
trials    one float32 package, run with any of its operators in float16, and held against the model
search    the smallest set of operators that must stay wide, by trials alone
plan      the answer as data: written into the report, read back by `--precision-file`
find      the way through these, for one job
"""
