"""The kinds of files that a network can be exported to, each with what runs it for its proof.

Nothing is imported here: each kind needs packages that the others do not.
"""
