"""Failures that say nothing of what was asked for: the process or the machine is short of something."""

from __future__ import annotations

import errno
from typing import Final

# As the kernel says it where there is no descriptor or no memory left; threads.NoThread has one of them too.
_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def is_short(error: BaseException | None) -> bool:
    """Whether descriptors, memory or threads ran out, be it that this was raised from an error that says so.

    Such a failure ends with the shortage: whatever could not be known or done is to be tried again soon.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _SHORT:
            return True
        error = error.__cause__
    return False
