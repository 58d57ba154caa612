"""Texts as whoever looks at the page may see them. Pure."""

from __future__ import annotations

from typing import Final

from hotplugd.app.found_serials import FoundSerials
from hotplugd.model.text import plain

_LONGEST: Final = 200
# So many serial numbers are remembered by their masks, and so many texts; then it begins anew.
_MOST_MASKS: Final = 4096
_MOST_TEXTS: Final = 16384
# Characters of what is masked by its shape, as a key or an address.
_LONGEST_SHAPE: Final = 64


def short(text: str) -> str:
    """The text, printable and short: for names in the configuration, which no serial number masks."""
    text = plain(text[: 4 * _LONGEST])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class Masking:
    """Makes texts printable and short, and masks serial numbers, each by the same mask for as long as it can.

    serials  whether serial numbers are shown
    """

    def __init__(self, *, serials: bool = False) -> None:
        self.serials = serials
        self._found = FoundSerials()
        self._known: dict[str, str] = {}

    def learn_anew(self, *documents: object) -> None:
        """Take note of all that the daemon says now; what was before is forgotten where that is too much."""
        if self._masks() > _MOST_MASKS:
            self._found = FoundSerials()
            self._known.clear()
        self.learn(*documents)

    def learn(self, *documents: object) -> None:
        """Take note of what documents of the daemon have of serial numbers and of people's names."""
        if self.serials:
            return
        before = self._masks()
        for each in documents:
            self._found.learn(each)
        if self._masks() != before:
            self._known.clear()

    def __call__(self, text: object) -> str:
        """The text, as it may be seen; of anything else than a text, that as one."""
        whole = str(text)
        raw = whole[: 4 * _LONGEST]
        found = self._known.get(raw)
        if found is None:
            if len(self._known) >= _MOST_TEXTS:
                self._known.clear()
            found = self._known[raw] = self._shown(raw, is_cut=len(raw) < len(whole))
        return found

    def _shown(self, raw: str, *, is_cut: bool) -> str:
        if self.serials:
            return short(raw)
        masked = self._found.masks.apply(raw)
        if is_cut:
            # The begin of a serial number may stand at the end, which no mask knows.
            masked = f"{masked[: -max(self._found.masks.longest, _LONGEST_SHAPE)]}…"
        return short(masked)

    def _masks(self) -> int:
        return sum(self._found.masks.counts().values())
