"""How the C library of this process keeps freed memory.

Owns two settings of glibc's malloc. Must not know any verb, and must be called by the command line
only: a library does not touch the allocator of the training program that it lives in.
"""

import sys

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Larger blocks, whole tensors, still go back to the system as soon as they are freed. This is the
# most that every glibc takes.
MMAP_BYTES = 32 << 20
KEPT_BYTES = 256 << 20


def keep_pages() -> bool:
    """Have freed blocks reused, not given back: fresh pages cost more than hashing.

    Chunks, frames and LMDB's dirty pages are freed and asked for again all the time. False where
    the C library is not glibc; nothing has changed then.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    kept = mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
