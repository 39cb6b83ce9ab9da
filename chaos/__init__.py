"""The fault suite: real servers and workers, real faults, and a checker of what must hold.

For development only: nothing here is shipped.
"""
