"""Freed memory, kept by the process: on a CPU large steps otherwise wait for the pages that they had a moment ago."""

import ctypes
import os
import platform

# From <malloc.h>: the number of arenas, of blocks mapped one by one, and of free bytes at the end that go back.
_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1


def keep_freed_memory() -> bool:
    """Tells the C library to keep what this process frees and hand it out again; returns whether it listened.

    A compiled step on a CPU asks for all of its intermediate arrays at once, and returns them at its end. The GNU C
    library gives blocks of more than some 32 MB back to the system, which clears every page of theirs anew the next
    time: without that an FNO on 128 x 128 points takes 17 % more training steps per second on two cores. Afterwards the
    process stays as large as it ever was, and all of its threads share one heap. Nothing that is computed changes.

    To be called before the first computation, when no thread has a heap of its own yet; the commands do it. Anything
    but the GNU C library is left as it is, and so is a process that was started with `MALLOC_ARENA_MAX` or the like.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if chosen or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all([mallopt(option, value) == 1 for option, value in settings])
