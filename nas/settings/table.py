"""The settings as a table of the docs. `python -m tools.write_settings` puts it there."""

from __future__ import annotations

from nas.settings.keys import Key, all_keys


def settings_table() -> str:
    """Every setting on a line, in Markdown: key, option, default, what it is, when it may change."""
    rows = [_row(key) for key in all_keys().values()]
    return "\n".join(["| key | option | default | what it is | may change |", "|---|---|---|---|---|", *rows])


def _row(key: Key) -> str:
    option = f"`{key.setting.option}`" if key.setting.option else ""
    more = f" ([more]({key.setting.page}))" if key.setting.page else ""
    cells = [f"`{key.name}`", option, key.default or "none", f"{key.help}{more}", str(key.setting.role)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
