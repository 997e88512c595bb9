"""Evaluate whether a converted dataset looks more real and whether its labels still hold.

evaluator.py        the whole evaluation, from its options to its files
frames.py           the frames of a conversion, paired with their translations
metric_selection.py the choice of metrics
view.py             the common view of all images
measures.py         the pass over the images in which metrics see them, and its figures
segmenter.py        how well a segmenter that learnt the simulation's masks still recognises them
temporal.py         the temporal stability of converted sequences
intervals.py        confidence intervals of figures
verdict.py          PASS, WARN or FAIL, and the reasons
figures.py          the results, and their file
table.py            the values of each frame
layout.py           whether both sides show similar scenes, checked before a training
supervision.py      what the labels of both sides allow
"""
