"""Damage to bytes and to JSON values, drawn from a seeded generator."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any
from zlib import crc32

MAGICS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
    b"PAR1",
    b"PK\x03\x04",
    b"\x80\x02}q\x00.",
    b"\x1f\x8b\x08",
    b"%PDF-1.7\n",
    b"\x00\x00\x00\x20ftypavif",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"{",
)
"""How files of other kinds begin."""
HUGE = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x00FFFFFF, 0x0000FFFF, 60_000, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
"""Numbers that no honest field holds."""
ESCAPES = "\x1b[31mred\x1b]0;title\x07\r\nsecond line\x00\u202e"
"""What a terminal must never see."""
ODD_TEXTS = ("", "x" * 100_000, ESCAPES, "\ud800", "\U0001f431" * 300, "../" * 40, "nan", "1e999", " ", "a\nb", "none")
ODD_NUMBERS: tuple[Any, ...] = (0, -1, 1, 2**31, 2**63, -(2**64), 10**30, 10**400, 1e308, -1e308, 1e-320, 0.5, -0.0)
ODD_NUMBERS += (float("nan"), float("inf"), float("-inf"), 1_000_000_000, 99999999999999999999)
ODD_VALUES: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, {"kind": "eir"}, {"kind": []})


def damage(content: bytes, random: Random) -> bytes:
    """Damage bytes once, or up to four times."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        content = random.choice(DAMAGES)(content, random)
    return content


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 3, 20, 200)) if changed else 0):
        changed[_place(changed, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, random: Random) -> bytes:
    start = _place(content, random)
    run = random.choice((b"\x00", b"\xff", b"\x7f", b"\x80", random.randbytes(1))) * random.choice((1, 4, 16, 4096))
    return content[:start] + run[: len(content) - start] + content[start + len(run) :]


def _truncate(content: bytes, random: Random) -> bytes:
    return content[: random.choice((0, 1, 7, 12, 30, len(content) // 2, len(content) - 1, _place(content, random)))]


def _repeat(content: bytes, random: Random) -> bytes:
    start, length = _place(content, random), random.choice((1, 8, 100, 5000))
    return content[:start] + content[start : start + length] * random.choice((2, 3, 50)) + content[start + length :]


def _cut_out(content: bytes, random: Random) -> bytes:
    start = _place(content, random)
    return content[:start] + content[start + random.choice((1, 2, 16, 1000)) :]


def _append(content: bytes, random: Random) -> bytes:
    return content + random.choice((b"\x00" * 64, random.randbytes(100), content[-200:], content[:5000]))


def _other_magic(content: bytes, random: Random) -> bytes:
    magic = random.choice(MAGICS)
    return magic + content[random.choice((0, len(magic))) :]


def _huge_number(content: bytes, random: Random) -> bytes:
    """Write a number of 2, 4 or 8 bytes where headers have their sizes: near the beginning or the end."""
    start = random.randrange(64) if random.random() < 0.7 else max(len(content) - 1 - random.randrange(64), 0)
    width, order = random.choice((2, 4, 8)), random.choice(("big", "little"))
    number = (random.choice(HUGE) & ((1 << 8 * width) - 1)).to_bytes(width, order)  # type: ignore[arg-type]
    return content[:start] + number + content[start + width :]


def _swap(content: bytes, random: Random) -> bytes:
    one, two = sorted((_place(content, random), _place(content, random)))
    length = min(random.choice((1, 16, 500)), two - one)
    if not length:
        return content[::-1]
    first, second = content[one : one + length], content[two : two + length]
    return content[:one] + second + content[one + length : two] + first + content[two + length :]


def _place(content: Sequence[int], random: Random) -> int:
    """Choose a position: half of them near the beginning or the end, where headers and footers are."""
    if not content:
        return 0
    near = random.randrange(min(len(content), 400))
    anywhere = random.randrange(len(content))
    return random.choice((near, len(content) - 1 - near, anywhere, anywhere))


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_flip, _flip, _flip, _overwrite, _truncate, _repeat, _cut_out),
    *(_append, _other_magic, _huge_number, _huge_number, _swap),
)


def odd_value(random: Random) -> Any:
    """Choose a value that a setting or a column does not expect."""
    return deepcopy(random.choice((random.choice(ODD_TEXTS), random.choice(ODD_NUMBERS), random.choice(ODD_VALUES))))


def odd_tree(tree: Any, random: Random) -> Any:
    """Copy a JSON value with one to three of its parts replaced, removed, renamed, or wrapped."""
    tree = json.loads(json.dumps(tree))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holders = [holder for holder in _holders(tree) if holder]
        if not holders:
            return odd_value(random)
        holder = random.choice(holders)
        key: Any = random.choice(list(holder) if isinstance(holder, dict) else list(range(len(holder))))
        change = random.randrange(9)
        if change < 5:
            holder[key] = odd_value(random)
        elif change == 5:
            del holder[key]
        elif change == 6:
            value = holder[key]
            for _ in range(random.choice((1, 3, 200))):
                value = random.choice(([value], {"kind": value}))
            holder[key] = value
        elif change == 7 and isinstance(holder, dict):
            holder[random.choice(("k" * 100_000, "\x1b[2J", "kind", "", "base", "\ud800"))] = holder.pop(key)
        else:
            holder[key] = random.choice((-1, 10**6, 10**9)) * holder[key] if _is_number(holder[key]) else "another"
    return tree


def json_text(value: Any, random: Random) -> bytes:
    """Write a JSON value as bytes, now and then in a way that JSON does not have."""
    indent = random.choice((None, 2))
    try:
        text = json.dumps(value, indent=indent)
    except RecursionError:  # with an indent, Python's own encoder writes
        text = json.dumps(value)
    change = random.randrange(20)
    if change < 12:
        return text.encode()
    deep = random.choice((900, 20_000, 100_000))
    odd: tuple[bytes, ...] = (
        b"[" * deep,
        b'{"a":' * deep,
        b"[" * deep + b"]" * deep,
        text.replace("1", "1" * random.choice((30, 5000)), 1).encode(),
        text.replace(": ", ": NaN, ", 1).encode(),
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("utf-16"),
        text.encode() + random.choice((b"\x00", b"}", text.encode(), b"\xff\xfe")),
        text.replace('"', "'").encode(),
        text[: random.randrange(len(text) + 1)].encode(),
        text.replace("{", '{"data": 1, "step": 1, ', 1).encode(),
        text.replace("}", ', "deep": ' + "[" * deep + "]" * deep + "}", 1).encode(),
        damage(text.encode(), random),
    )
    return random.choice(odd)


def png_of_size(width: int, height: int, content: bytes) -> bytes:
    """Write the size of a PNG anew, its checksum as well, so that only the pixels disagree."""
    header = b"IHDR" + struct.pack(">II", width & 0xFFFFFFFF, height & 0xFFFFFFFF) + content[24:29]
    return content[:12] + header + struct.pack(">I", crc32(header)) + content[33:]


def _holders(tree: Any) -> list[Any]:
    """Collect every list and dict of a JSON value."""
    found, waiting = [], [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            found.append(one)
            waiting += one.values() if isinstance(one, dict) else one
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
