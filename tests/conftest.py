"""What holds for all tests: random numbers are seeded; what needs a GPU skips, with the reason, where none is."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from shapes import check_annotations, check_fusions

check_annotations()


def pytest_configure(config: pytest.Config) -> None:
    # Each process of the tests has locks of its own: with common ones the measurements of one wait until no search of
    # another trains, for minutes in all.
    folder = tempfile.mkdtemp(prefix="fusion-nas-tests-")
    os.environ["FUSION_NAS_LOCKS"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    warm.look_briefly()
    # Without it a test that draws numbers draws others on every run, and fails on some day for no reason.
    # One that never imported torch is not made to.
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        check_fusions()
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device, and there is none")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the pages of one module, in which what one of them makes is there for the next."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "examples").symlink_to(Path("examples").resolve())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_NAS_CACHE", str(folder / "cache"))
        yield folder
