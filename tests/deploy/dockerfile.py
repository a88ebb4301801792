"""A Dockerfile as its stages, and its steps carried out without a container engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from string import Template


@dataclass(frozen=True, slots=True)
class Step:
    instruction: str
    text: str

    @property
    def source(self) -> str:
        """Of a COPY: the stage that it copies from; empty for the context."""
        first = self.text.split()[0]
        return first.removeprefix("--from=") if first.startswith("--from=") else ""

    @property
    def paths(self) -> list[str]:
        """Of a COPY: what, and where to."""
        return [word for word in self.text.split() if not word.startswith("--")]


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, instruction: str) -> list[Step]:
        return [step for step in self.steps if step.instruction == instruction]


def stages(path: Path) -> list[Stage]:
    """The stages in order; the last is the image."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in filter(None, "\n".join(lines).replace("\\\n", " ").splitlines()):
        instruction, _, text = line.partition(" ")
        if instruction == "FROM":
            found.append(Stage(text.partition(" AS ")[2]))
        elif found:
            found[-1].steps.append(Step(instruction, text.strip()))
    return found


class Rehearsal:
    """Carries out stages below a directory, each with a root and a Python of its own in place of the base image.

    What it can't show: the base image itself, users, and a root that is read-only.
    """

    def __init__(self, context: Path, directory: Path) -> None:
        self._context = context
        self._directory = directory

    def run(self, stage: Stage) -> Built:
        """Carry out a stage. Raises CalledProcessError when a step fails."""
        root = self._directory / (stage.name or "image")
        base = self._directory / f"{root.name}-python"
        subprocess.run([sys.executable, "-m", "venv", base], check=True)
        variables = {"PATH": f"{base / 'bin'}:{os.environ['PATH']}", "HOME": str(self._directory)}
        built = Built(root, root, variables)
        for step in stage.steps:
            match step.instruction:
                case "WORKDIR":
                    built.directory = built.inside(step.text)
                    built.directory.mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(step, built)
                case "ENV":
                    for word in step.text.split():
                        name, _, value = word.partition("=")
                        paths = (str(built.inside(part)) if part[:1] == "/" else part for part in value.split(":"))
                        told = ":".join(paths)
                        variables[name] = Template(told).substitute(variables)
                case "RUN":
                    text = step.text.replace("/opt/camino", str(built.inside("/opt/camino")))
                    subprocess.run(["sh", "-euc", text], check=True, cwd=built.directory, env=variables)
                case "ENTRYPOINT":
                    built.entry = json.loads(step.text)
        return built

    def _copy(self, step: Step, built: Built) -> None:
        what, to = step.paths
        source = self._directory / step.source / what.lstrip("/") if step.source else self._context / what
        target = built.inside(to)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


@dataclass(slots=True)
class Built:
    """A stage carried out: its root, and how a container of it would start."""

    root: Path
    directory: Path
    variables: dict[str, str]
    entry: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Where a path of the stage is: an absolute one below the root, others below the working directory."""
        return self.root / path[1:] if path.startswith("/") else self.directory / path
