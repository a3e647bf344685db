#!/usr/bin/env python3
"""Runs the pages of this directory, each in an empty directory with a service of its own. See ``test``, which checks what it needs.

A page has these code blocks, told apart by the words behind the language; others are passed over:

| block | what becomes of it |
|---|---|
| ``python worker.py`` | the file, in the directory in which the commands run |
| ``console`` | commands behind ``$ ``, one after the other; each must succeed |
| ``console background`` | the same in a terminal of its own, where it must go on until Ctrl-C ends it with the page |
| ``console install`` | left out: instead the SDKs of this checkout are on the path of each language |
| ``text output`` | what the commands before it have written; … stands for anything within a line, and alone for any lines |

The service listens on a free port, which takes the place of 7070 in all blocks.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Dict, List, Optional, Tuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
#: Longer than any command needs, in seconds.
PATIENCE = 120.0
LANGUAGES = {
    "python": ["python3", "-c", "import sys; sys.exit(sys.version_info < (3, 9))"],
    "node": ["node", "-e", "process.exit(process.versions.node.split('.')[0] < 20 ? 1 : 0)"],
    "go": ["go", "version"],
}
PACKAGES = {"python": "python3", "node": "nodejs", "go": "golang-go"}


class Failed(Exception):
    """A page that does not do what it says."""


class Page:
    """A page: its blocks, with the words behind the language."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        found = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", path.read_text("utf-8"), re.S | re.M)
        self.blocks: List[Tuple[str, str, str]] = [(language, words.strip(), text) for language, words, text in found]

    def needs(self) -> List[str]:
        """Returns the languages of the commands."""
        commands = "\n".join(text for language, _, text in self.blocks if language == "console")
        programs = {"python": "python3", "node": "node", "go": "go"}
        return [name for name, program in programs.items() if re.search(rf"^\$ {program} ", commands, re.M)]


class Run:
    """A page that is run."""

    def __init__(self, page: Page, directory: Path) -> None:
        self.page, self.directory = page, directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        programs = directory / ".bin"
        programs.mkdir()
        for name, program in {"dtf": os.environ["DTF"], "python3": os.environ.get("PYTHON", sys.executable)}.items():
            shim = programs / name
            shim.write_text(f'#!/bin/sh\nexec "{os.path.abspath(program) if os.sep in program else shutil.which(program)}" "$@"\n')
            shim.chmod(0o755)
        (directory / "sdk").symlink_to(ROOT / "sdk")
        (directory / "node_modules").mkdir()
        (directory / "node_modules/dtf").symlink_to(ROOT / "sdk/typescript")
        self.environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "sdk/python"), "PYTHONUNBUFFERED": "1",
            "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOWORK": "off", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        self.background: List[Tuple[str, subprocess.Popen[bytes]]] = []
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")

    def all(self) -> None:
        """Goes through the page."""
        written = ""
        for language, words, text in self.page.blocks:
            text = text.replace("7070", str(self.port))
            if language == "console" and words == "background":
                for command in commands(text):
                    self.start(command)
            elif language == "console" and words == "":
                written = "".join(self.run(command) for command in commands(text))
            elif language == "text" and words == "output":
                compare(written, text)
            elif words and words not in ("install", "output", "background"):
                file = self.directory / words
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, "utf-8")
        for command, process in self.background:
            if process.poll() is not None:
                raise Failed(f"`{command}` has ended with exit code {process.returncode}")
        self.end()

    def start(self, command: str) -> None:
        """Runs a command in a terminal of its own."""
        told = command
        if command == "dtf dev":
            command += f" --listen 127.0.0.1:{self.port}"
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.directory, env=self.environment, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        self.background.append((told, process))
        if told == "dtf dev":
            self.until_it_listens(process)

    def until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the service: a reader sees it say so."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/types", timeout=10):
                    return
            except (urllib.error.URLError, OSError) as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"dtf dev does not listen: {error}") from error
                time.sleep(0.05)

    def run(self, command: str) -> str:
        """Runs a command and returns what it wrote."""
        try:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=self.directory, env=self.environment, stdout=subprocess.PIPE, stderr=self.log, timeout=PATIENCE,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Failed(f"`{command}` goes on after {PATIENCE:g} s") from error
        output = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            raise Failed(f"`{command}` ended with exit code {done.returncode}, and wrote:\n{output[-2000:]}")
        return output

    def end(self) -> None:
        """Ends what runs in terminals of its own, as Ctrl-C does, the last one first."""
        for command, process in reversed(self.background):
            os.killpg(process.pid, signal.SIGINT)
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired as error:
                raise Failed(f"`{command}` goes on after Ctrl-C") from error
            # `go run` says 1 of a program that a signal has reached.
            if code not in (0, 130, -signal.SIGINT) and not command.startswith("go run"):
                raise Failed(f"`{command}` ended with exit code {code} after Ctrl-C")

    def kill(self) -> None:
        """Ends what is left."""
        for _, process in self.background:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def commands(text: str) -> List[str]:
    """Returns the commands of a block. One goes on behind a backslash, and until its quotes are closed."""
    found: List[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(line[2:])
        elif found and line:
            found[-1] += "\n" + line
    return found


def compare(written: str, wanted: str) -> None:
    """Fails where what was written is not what a page says."""
    lines = [re.escape(line).replace("…", ".*") for line in wanted.rstrip("\n").split("\n")]
    pattern = "".join("(?:.*\n)*?" if line == ".*" else line + "\n" for line in lines)
    if re.fullmatch(pattern, written.rstrip("\n") + "\n") is None:
        raise Failed(f"what was written is\n{written}\nand the page says\n{wanted}")


def is_there(language: str) -> bool:
    """Returns true if a language is installed."""
    command = LANGUAGES[language]
    program = os.environ.get("PYTHON", sys.executable) if language == "python" else command[0]
    return shutil.which(program) is not None and subprocess.run([program, *command[1:]], stdout=subprocess.DEVNULL).returncode == 0


def one(page: Page) -> Optional[str]:
    """Runs a page. Returns what was wrong, if anything was."""
    with tempfile.TemporaryDirectory() as directory:
        run = Run(page, Path(directory))
        try:
            run.all()
            return None
        except Failed as error:
            run.log.seek(0)
            return f"{error}\n--- what its programs said\n{run.log.read()[-4000:]}"
        finally:
            run.kill()
            run.log.close()


def main() -> int:
    pages = {path.stem: Page(path) for path in sorted(HERE.glob("*.md")) if path.stem != "README"}
    arguments = argparse.ArgumentParser(description="Runs the tutorials.")
    arguments.add_argument("pages", nargs="*", help=f"some of {', '.join(pages)}; all by default")
    arguments.add_argument("--skip", action="append", default=[], choices=list(LANGUAGES), help="leave out what needs this language")
    given = arguments.parse_args()
    unknown = [name for name in given.pages if name not in pages]
    if unknown:
        arguments.error(f"there is no page {unknown[0]!r}; there are {', '.join(pages)}")
    failed: Dict[str, str] = {}
    untested: Dict[str, str] = {}
    todo: List[Page] = []
    for page in (pages[name] for name in given.pages or pages):
        skipped = [language for language in page.needs() if language in given.skip]
        missing = [language for language in page.needs() if language not in skipped and not is_there(language)]
        if skipped:
            print(f"skip   {page.name}: it needs {' and '.join(skipped)}", file=sys.stderr, flush=True)
        elif missing:
            untested[page.name] = f"{missing[0]} is missing: apt-get install {PACKAGES[missing[0]]}, or --skip {missing[0]}"
        else:
            todo.append(page)

    def loop() -> None:
        while todo:
            page = todo.pop(0)
            began, wrong = time.monotonic(), one(page)
            if wrong:
                failed[page.name] = wrong
            print(f"{'FAILED' if wrong else 'ok':6} {page.name:16} {time.monotonic() - began:5.1f} s", file=sys.stderr, flush=True)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, wrong in failed.items():
        print(f"docs/tutorials/test: FAILED: {name}: {wrong}", file=sys.stderr)
    for name, why in untested.items():
        print(f"docs/tutorials/test: MISSING, so the page was not tested: {name}: {why}", file=sys.stderr)
    return 1 if failed else 2 if untested else 0


if __name__ == "__main__":
    sys.exit(main())
