"""Failures for want of descriptors, memory or threads: they say nothing of what was asked for."""

from __future__ import annotations

import errno
from typing import Final

# As the kernel says it where there is no descriptor or no memory left; threads.NoThread has one of them too.
_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def is_short(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that descriptors, memory or threads ran out.

    The shortage may end soon: the caller tries again.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _SHORT:
            return True
        error = error.__cause__
    return False
