"""What the engine can be asked for, one file each: `run(room, **request) -> dict`, JSON both ways.

An operation checks what it is given, for a request is made from what a person typed; it calls `room.check()` in loops, so
that it ends when its time is up; it raises `Mistake` with a sentence for the page.
"""
