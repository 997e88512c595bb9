"""Does a converted dataset look more real, and do its labels still hold?"""
