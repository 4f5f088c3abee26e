"""What can be compared, one file each: NAME (what two of it are called), ORDER, and `render()`.

The two that are compared are `a` and `b` of the address, the left and the right one; a file may read more of it.
"""
