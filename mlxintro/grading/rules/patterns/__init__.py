"""Keep the wordings that the rules know: data, no decisions.

All patterns apply to folded text (lower case, straight quotes), most of them to one clause. ``stance.py``,
``clause.py`` and ``assertion.py`` say what each of them leads to. A pattern that is longer than a line has one
alternative per line (``re.VERBOSE``: a space is written ``\\ ``), so that a wording is changed in one line.
"""
