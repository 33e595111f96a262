"""Long computations give way to what else runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GROUP = Path("/proc/self/autogroup")
SCRIPT = (
    "import os; from trials.machine.priority import give_way; give_way(); print(os.nice(0)); "
    "print(open('/proc/self/autogroup').read() if os.path.exists('/proc/self/autogroup') else '')"
)


@pytest.mark.parametrize("leads", [True, False])
def test_a_process_gives_way_and_its_session_where_it_leads_it(leads: bool) -> None:
    # Within a session of its own in any case, so that the tests' own keeps its priority.
    command = [sys.executable, "-c", SCRIPT]
    if not leads:
        command = [sys.executable, "-c", f"import subprocess; subprocess.run({command})"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True)
    nice, group = found.stdout.splitlines()[:2]
    assert nice == "19"
    if GROUP.exists() and GROUP.read_text().strip():
        assert group.endswith("nice 19") is leads
