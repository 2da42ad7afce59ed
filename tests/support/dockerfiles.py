"""A Dockerfile without an engine: its instructions, the rules that it keeps to, and its stages built by hand.

The rules are those of hadolint (https://github.com/hadolint/hadolint) that can be broken with what we write, by their numbers. By hand
means: in a view of this machine's file system in which nothing written is kept, each instruction as it stands.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

SHELLS = re.compile(r"^\s*(sudo|ssh|vim|shutdown|service|ps|free|top|kill|mount|ifconfig)\b")


@dataclass(frozen=True)
class Instruction:
    """One instruction. ignored: the rules that the comment before it sets aside."""

    word: str
    rest: str
    ignored: frozenset[str] = frozenset()

    @property
    def commands(self) -> list[str]:
        """Of a RUN, the commands that it joins."""
        return [part.strip() for part in re.split(r"&&|;|\|\|", self.rest)] if self.word == "RUN" else []


@dataclass(frozen=True)
class Stage:
    """What stands between one FROM and the next. name: "" of the last one."""

    name: str
    base: str
    steps: tuple[Instruction, ...]


def instructions(text: str) -> list[Instruction]:
    """All instructions, in order."""
    found, ignored = [], frozenset[str]()
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("#"):
            ignored = frozenset(re.findall(r"DL\d{4}", line)) if "hadolint ignore=" in line else ignored
        elif line.strip():
            word, _, rest = line.partition(" ")
            found.append(Instruction(word, rest.strip(), ignored))
            ignored = frozenset()
    return found


def stages(text: str) -> list[Stage]:
    """The stages, in order. What stands before the first FROM belongs to none."""
    found: list[Stage] = []
    for step in instructions(text):
        if step.word == "FROM":
            base, _, name = re.sub(r"\s+AS\s+", " AS ", step.rest, flags=re.IGNORECASE).partition(" AS ")
            found.append(Stage(name, base, ()))
        elif found:
            found[-1] = Stage(found[-1].name, found[-1].base, (*found[-1].steps, step))
    return found


def chain(text: str, wanted: str, runtime: str) -> list[Stage]:
    """The stages that the one of this name is built on, the first one first, and that one; "" is the last one."""
    every = stages(text)
    found = [every[-1]] if not wanted else [stage for stage in every if stage.name == wanted]
    while base := next((stage for stage in every if stage.name == found[0].base.replace("${RUNTIME}", runtime)), None):
        found.insert(0, base)
    return found


def broken_rules(text: str) -> set[str]:
    """The numbers of the rules that a Dockerfile breaks."""
    found, names, users, ends = set[str](), set[str](), [""], list[str]()
    workdir = False
    for step in instructions(text):
        broken = set[str]()
        if step.word == "FROM":
            base, _, name = step.rest.partition(" AS ")
            broken |= {"DL3024"} if name and name in names else set()
            if base not in names and base != "scratch":
                broken |= {"DL3006"} if ":" not in base else set()
                broken |= {"DL3007"} if base.endswith(":latest") else set()
            names.add(name)
            users, ends, workdir = [""], [], False
        elif step.word == "RUN":
            broken |= {rule for command in step.commands for rule in _of_a_command(command)}
            broken |= {"DL4006"} if re.search(r"[^|]\|[^|]", step.rest) else set()
            broken |= {"DL3009"} if "apt-get update" in step.rest and "/var/lib/apt/lists" not in step.rest else set()
        elif step.word == "COPY":
            *given, to = (part for part in step.rest.split() if not part.startswith("--"))
            source = re.search(r"--from=(\S+)", step.rest)
            broken |= {"DL3022"} if source and source.group(1) not in names else set()
            broken |= {"DL3021"} if len(given) > 1 and not to.endswith("/") else set()
            broken |= {"DL3045"} if not workdir and not to.startswith(("/", "$")) else set()
        elif step.word == "ENV":
            set_here = [pair.partition("=")[0] for pair in shlex.split(step.rest)]
            used = {
                other for pair in shlex.split(step.rest) for other in set_here if f"${other}" in pair and not pair.startswith(f"{other}=")
            }
            broken |= {"DL3044"} if used else set()
        elif step.word in ("CMD", "ENTRYPOINT"):
            broken |= {"DL3025"} if not step.rest.startswith("[") else set()
            broken |= {"DL4003" if step.word == "CMD" else "DL4004"} if step.word in ends else set()
            ends.append(step.word)
        elif step.word == "WORKDIR":
            workdir = True
            broken |= {"DL3000"} if not step.rest.startswith(("/", "$")) else set()
        elif step.word == "EXPOSE":
            broken |= {"DL3011"} if not all(0 < int(port.partition("/")[0]) < 65536 for port in step.rest.split()) else set()
        elif step.word == "USER":
            users.append(step.rest)
        broken |= {"DL3020"} if step.word == "ADD" else {"DL4000"} if step.word == "MAINTAINER" else set()
        found |= broken - step.ignored
    if users[-1].partition(":")[0] in ("", "0", "root"):
        found.add("DL3002")
    return found


def _of_a_command(command: str) -> Iterator[str]:
    words = shlex.split(command)
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):  # variables of this command alone
        del words[0]
    if SHELLS.match(shlex.join(words)):
        yield "DL3004" if words[0] == "sudo" else "DL3001"
    if words[:1] == ["cd"]:
        yield "DL3003"
    if words[:1] == ["useradd"] and any(len(word) > 5 and word.isdigit() for word in words) and "-l" not in words:
        yield "DL3046"
    if words[:1] == ["apt"]:
        yield "DL3027"
    if words[:2] == ["apt-get", "install"]:
        yield from [] if {"-y", "--yes", "-qq"} & set(words) else ["DL3014"]
        yield from [] if "--no-install-recommends" in words else ["DL3015"]
        named = [word for word in words[2:] if not word.startswith("-")]
        yield from [] if all("=" in word for word in named) else ["DL3008"]
    if words[:2] == ["pip", "install"]:
        yield from [] if "--no-cache-dir" in words else ["DL3042"]
        yield from [] if "-c" in words or "--constraint" in words or all("==" in word for word in words[2:]) else ["DL3013"]


# -- by hand


def by_hand(text: str, runtime: str, sources: Path, interpreter: str, packages: Sequence[str], then: str) -> str:
    """A script for `unshare --mount --net` that builds what the last stage is made of, and then starts it as a container would.

    interpreter: the Python that stands for the base image's. packages: folders with what pip would have fetched. then: the commands that
    the container is tried by, in it; they find its entry point and command as $START and its health check as $HEALTH.
    """
    image = chain(text, "", runtime)
    built = next(step for step in image[-1].steps if step.word == "COPY" and "--from=" in step.rest)
    name = re.search(r"--from=(\S+)", built.rest)
    assert name is not None
    source = chain(text, name.group(1), runtime)
    fetched = ":".join(packages)
    lines = ["set -eu", "mount --make-rprivate /", "mount -t tmpfs none /mnt", "ip link set lo up || true"]
    for root, parts in (("/mnt/built", source), ("/mnt/image", image)):
        lines += [
            f"mkdir -p {root} {root}.new {root}.work",
            f"mount -t overlay overlay -o lowerdir=/,upperdir={root}.new,workdir={root}.work {root}",
        ]
        lines += [f"mount --rbind /{place} {root}/{place}" for place in ("proc", "dev")]
        lines += [
            f"rm -rf {root}/opt/annotriage {root}/source {root}/data",
            f"rm -f {root}/usr/local/bin/python",
            f"echo 'exec {interpreter} \"$@\"' > {root}/usr/local/bin/python",
            f"chmod 755 {root}/usr/local/bin/python",
        ]
        lines += [f"chmod a+x {root}/root || true"]
        environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        folder = "/"
        arguments: dict[str, str] = {}  # of one stage alone; nothing is given, so each has its default
        for step in (step for stage in parts for step in (Instruction("FROM", stage.base), *stage.steps)):
            if step.word == "FROM":
                arguments = {}
            elif step.word == "ARG":
                arguments |= dict(_pairs(step.rest))
            elif step.word == "ENV":
                environment |= {key: Template(value).substitute(arguments | environment) for key, value in _pairs(step.rest)}
            elif step.word == "WORKDIR":
                folder = step.rest
                lines.append(f"mkdir -p {root}{folder}")
            elif step.word == "COPY":
                lines += _copied(step, root, folder, sources)
            elif step.word == "RUN":
                offline = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PYTHONPATH": fetched}
                given = arguments | environment | (offline if "pip install" in step.rest else {})
                lines.append(_in(root, given, f"cd {folder} && {step.rest}"))
    last = image[-1].steps
    ends = {step.word: step.rest for step in last}
    start = shlex.join([*json.loads(ends["ENTRYPOINT"]), *json.loads(ends["CMD"])])
    health = shlex.join(json.loads(ends["HEALTHCHECK"].partition("CMD ")[2]))
    user, _, group = ends["USER"].partition(":")
    lines.append(f"mount -o remount,ro {root}")
    lines += [f"mount -t tmpfs -o mode=1777 none {root}/tmp", f"mount -t tmpfs -o uid={user},gid={group} none {root}{ends['VOLUME']}"]
    as_user = f"setpriv --reuid {user} --regid {group} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
    environment |= {"PYTHONPATH": fetched, "START": start, "HEALTH": health}
    lines.append(_in(root, environment, f"cd {folder} && {as_user} sh -euc {shlex.quote(then)}"))
    return "\n".join(lines)


def _pairs(rest: str) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (pair.partition("=") for pair in shlex.split(rest))]


def _copied(step: Instruction, root: str, folder: str, sources: Path) -> list[str]:
    *given, to = (part for part in step.rest.split() if not part.startswith("--"))
    place = to if to.startswith("/") else f"{folder}/{to}"
    lines = []
    for one in given:
        if "--from=" in step.rest:
            lines += [f"mkdir -p {root}{place}", f"cp -a /mnt/built{one}/. {root}{place}"]
        elif (sources / one).is_dir():
            lines += [f"mkdir -p {root}{place}", f"cp -r {sources / one}/. {root}{place}"]
        else:
            lines.append(f"cp {sources / one} {root}{place}")
    return lines


def _in(root: str, environment: dict[str, str], command: str) -> str:
    pairs = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
    return f"chroot {root} /usr/bin/env -i {pairs} sh -euc {shlex.quote(command)}"
