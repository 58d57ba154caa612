"""Input from those who wish us ill: `python -m tests.fuzz` for a million cases, pytest for some of each.

A target is a function of bytes. It makes its input of them, has the real code work on that, and asserts what
must hold of the outcome. atheris chooses bytes by what code they reach; Hypothesis runs the same targets with
all other tests.
"""
