"""The wordings the stance rules know: data, no decisions.

All patterns apply to folded text (lower case, straight quotes), most of them to one clause. ``rules/stance.py`` and
``rules/clause.py`` say what each of them leads to.
"""
