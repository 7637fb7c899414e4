"""A kernel for code that others wrote, as alone as the machine allows. The grader outside keeps its own rights.

With root on Linux: a user of its own who can write only a folder of its own, no network, no sight of other processes,
and of what is to be hidden. Else with the rights of whoever calls, which is said.
"""
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from shlex import join, quote

USER = 64321  # no file on the machine belongs to this number
LEVELS = (
    "as a user of its own, without network, not seeing the other hand-ins",
    "without network, but with your rights: it can read and change your files",
    "with your rights and your network: NO ISOLATION, so know your students or use a container",
)


def closed_above(path: Path) -> Path | None:
    """The topmost folder on the way to `path` that other users may not enter, such as /root."""
    return next((p for p in reversed((path / "_").parents) if not p.stat().st_mode & 1), None)


def views(place: Path, keep: list[Path], hide: list[Path]) -> list[str]:
    """Shell lines, in a mount namespace: what is needed of closed folders stays, the rest of them is gone."""
    closed = {path: closed_above(path) for path in keep if closed_above(path)}
    lines = [f"mkdir -p {place}/empty"]
    for n, path in enumerate(closed):
        lines.append(f"mkdir -p {place}/keep{n}; mount --rbind {quote(str(path))} {place}/keep{n}")
    lines += [f"mount -t tmpfs -o mode=755 none {quote(str(folder))}" for folder in sorted(set(closed.values()))]
    for n, path in enumerate(closed):
        lines.append(f"mkdir -p {quote(str(path))}; mount --rbind {place}/keep{n} {quote(str(path))}")
    for path in hide:
        nothing, name = f"{place}/empty" if path.is_dir() else "/dev/null", quote(str(path))
        lines.append(f"[ ! -e {name} ] || mount --bind {nothing} {name}")
    return lines


def command(level: int, place: Path, python: list[str], env: dict, keep=(), hide=()) -> list[str]:
    """The command that runs `python ... FILE more`, FILE and more being appended to it, in a copy of its folder."""
    die = "setpriv --pdeathsig KILL "  # with whoever started it; a new user forgets that, so it is said twice
    drop = f"{die}--reuid={USER} --regid={USER} --clear-groups --no-new-privs " if level == 0 else ""
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "USER": "student", "HOME": f"{place}/work"} | env
    run = f"cd {place}/work; exec {drop}env -i {join(f'{k}={v}' for k, v in env.items())} {join(python)} \"$@\""
    first = [f"mkdir -p {place}/work", f"cp -r . {place}/work"]
    if level == 0:
        first.append(f'chown -R {USER} {place}/work "$1"')
        run = "\n".join(["set -e", *views(place, keep, hide), run])
    own = f"{die}unshare -n -m -p --fork --kill-child --mount-proc "
    within = (own, "unshare -r -n ", "")[level]
    return ["sh", "-c", "\n".join(["set -e", *first, f'exec {within}sh -c {quote(run)} sh "$@"']), "sh"]


def best_level(needs: list[Path], **options) -> int:
    """The first of LEVELS in which Python starts here and can read what it needs."""
    read = [sys.executable, "-c", "import sys, ipykernel; [open(file).close() for file in sys.argv[1:]]"]
    for level in range(os.geteuid() != 0, 2):
        with tempfile.TemporaryDirectory() as start, tempfile.NamedTemporaryFile() as file, own_place() as place:
            argv = command(level, place, read, {}, **options)
            if subprocess.run([*argv, file.name, *map(str, needs)], cwd=start, capture_output=True).returncode == 0:
                return level
    return 2


@contextmanager
def own_place():
    """A folder that every user may write, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="graded-") as folder:
        os.chmod(folder, 0o1777)
        yield Path(folder)
