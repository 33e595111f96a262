"""Writes the table of settings into docs/settings.md, from the settings' own fields.

python -m tools.write_settings            write it
python -m tools.write_settings --check    exit code 1 where the page has another
"""

from __future__ import annotations

import sys
from pathlib import Path

from nas.settings.table import settings_table

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
BEGIN, END = "<!-- settings: generated -->\n", "\n<!-- /settings -->"


def with_table(page: str) -> str:
    """The page with the table in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{settings_table()}{END}{after}"


def main() -> int:
    if sys.argv[1:] not in ([], ["--check"]):
        print(f"write_settings: given {' '.join(sys.argv[1:])}; expected nothing or --check", file=sys.stderr)
        return 2
    page = PAGE.read_text(encoding="utf-8")
    if sys.argv[1:]:
        return int(page != with_table(page))
    PAGE.write_text(with_table(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
