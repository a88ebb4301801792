"""Adds to the wheel what is generated from the protos of the repository: the modules of `camino.*.v1` and
`buf.validate` with their types, the examples, and the descriptor set `camino/camino.binpb`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import setup
from setuptools.command.build_py import build_py

GENERATE = Path(__file__).resolve().parents[2] / "protos" / "generate.py"


class BuildWithContract(build_py):
    def run(self) -> None:
        wheel = Path(self.build_lib)
        # What an earlier build left behind would get into this one.
        shutil.rmtree(wheel, ignore_errors=True)
        super().run()
        with TemporaryDirectory() as temporary:
            generated = Path(temporary, "gen")
            subprocess.run([sys.executable, GENERATE, generated], check=True)
            for package in ("buf", "camino"):
                shutil.copytree(generated / package, wheel / package, dirs_exist_ok=True)
            shutil.copy(generated / "camino.binpb", wheel / "camino")
        for package in (*wheel.glob("camino/*/v1"), wheel / "buf" / "validate"):
            (package / "py.typed").touch()


setup(cmdclass={"build_py": BuildWithContract})
