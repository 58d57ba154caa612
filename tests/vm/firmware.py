"""The firmware of a server's virtual machines: it numbers the PCI buses, and halts.

An operating system inside such a machine, OVMF even, ends the emulation of the machine around it now and then
(QEMU 7.2). What a virtual machine has been given is seen from its QEMU all the same. QEMU reaches what is
plugged in below a port only once the port's bus has a number, which firmware gives it.
"""

from __future__ import annotations

from typing import Final

SIZE: Final = 1 << 16
"""Of the file, in bytes; it ends where the first 4 GiB of addresses end."""

# A processor begins 16 bytes below the end, in 16-bit mode.
_RESET: Final = SIZE - 16
_BEGIN: Final = SIZE - 256
# For each device and function of bus 0 (ebx): where the header is that of a bridge (configuration space at
# 0x0e, bits 0 to 6) its secondary and subordinate bus (at 0x19 and 0x1a) are the next number (ecx).
_CODE: Final = bytes.fromhex(
    "fa"  # cli
    "6631db"  # xor ebx, ebx
    "66b901000000"  # mov ecx, 1
    "6689d8 66c1e008 660d0c000080"  # next: eax = 0x80000000 | ebx << 8 | 0x0c
    "baf80c 66ef"  # out 0xcf8, eax
    "bafe0c ec"  # in al, 0xcfe
    "247f 3c01 7527"  # and al, 0x7f; cmp al, 1; jne skip
    "6689d8 66c1e008 660d18000080"  # eax = 0x80000000 | ebx << 8 | 0x18
    "baf80c 66ef"  # out 0xcf8, eax
    "6689c8 66c1e008 6609c8 66c1e008"  # eax = ecx << 16 | ecx << 8
    "bafc0c 66ef"  # out 0xcfc, eax
    "6641"  # inc ecx
    "6643"  # skip: inc ebx
    "6681fb00010000 75b2"  # cmp ebx, 256; jne next
    "f4 ebfd"  # halt: hlt; jmp halt
)


def firmware() -> bytes:
    """What a file has to hold that QEMU takes for OVMF's code."""
    made = bytearray(b"\xff" * SIZE)
    made[_BEGIN : _BEGIN + len(_CODE)] = _CODE
    jump = b"\xe9" + (_BEGIN - _RESET - 3).to_bytes(2, "little", signed=True)
    made[_RESET : _RESET + len(jump)] = jump
    return bytes(made)
