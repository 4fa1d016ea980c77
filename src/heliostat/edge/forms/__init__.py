"""The forms in which clients get what the edge knows of a file or folder. Pure: bytes from facts.

One module a form; `about` has what they are made of. Nothing here reads a request, a clock or a
disk.
"""
