"""Tables for people and for `grep`: one line per row, however long a name is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

_APART: Final = "  "


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> Iterator[str]:
    """The header's line and one for each row; the columns named in `right` end at the same place, others begin there.

    Every row has as many cells as the header.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    ends = [name in right for name in head]
    for row in (head, *rows):
        cells = (
            cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(row, widths, ends, strict=True)
        )
        yield _APART.join(cells).rstrip()
