"""Escapes: text that somebody else wrote, as it may be shown.

Owns which characters would act on a terminal, or on the order of what is read there, and how they
are spelled instead. Must not know where the text comes from, nor print.
"""

_SPELLED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Marks, embeddings, overrides and isolates of the bidirectional algorithm (UAX 9), separators of
# lines and paragraphs, and the byte order mark. Joiners stay: whole scripts are written with them.
_HIDDEN = frozenset(
    [0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
# What `os.fsdecode` makes of a byte of a name that is no UTF-8.
_BYTES = range(0xDC80, 0xDD00)


def escaped(text: str, most: int | None = None) -> str:
    r"""Return text with its control characters spelled (``\x1b``), cut to ``most`` letters."""
    if most is not None and len(text) > most:
        return escaped(text[:most]) + "…"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in text)


def _spelled(letter: str) -> str:
    code = ord(letter)
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or 0x7F <= code < 0xA0:
        return _SPELLED.get(letter, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code in _HIDDEN or 0xD800 <= code < 0xE000 else letter
