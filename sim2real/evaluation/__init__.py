"""Does a converted dataset look more real, and do its labels still hold?

evaluator.py what is asked and what is found, from beginning to end
frames.py    the frames of a conversion, each beside its translation
choice.py    which metrics
view.py      the same view of every picture
measures.py  the pass over pictures in which metrics see them, and their figures
segmenter.py does a segmenter that learnt the simulation's masks still know them?
temporal.py  do converted sequences hold still?
intervals.py how sure is a figure?
verdict.py   PASS, WARN or FAIL, and why
figures.py   what is found, and how it is kept
table.py     the figures of each frame
layout.py    do both sides show alike scenes? asked before any training
"""
