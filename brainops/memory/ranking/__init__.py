"""The scoring half of recall: words, vectors, an index of one tenant in process, and the score that fuses them.

Without a database and without an engine: rows are handed in, and ranked keys come out. numpy, the stemmer and the
embedding weights are imported where they are first needed, so that an idle process does not pay for them.
"""
