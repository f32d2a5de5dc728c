"""The command line parses options, calls the other rooms, and ends with one line and an exit code.

It does not know how anything is computed, and no other room imports it.
"""
