"""However a session ends, every edit that was accepted is there when the project is opened again.

Started as a program, this file is the session that is killed: it forks a labeller for each line it
reads.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from flexpose.annotation.label import FrameLabel, place
from flexpose.annotation.project import AnnotationProject
from flexpose.skeleton import Skeleton

PAIR = Skeleton(name="pair", joints=("head", "tail"), edges=((0, 1),))
FILES = ("project.json", "project.json.bak", "journal.jsonl")
KILLS = 30


def labels_in(project):
    return {name: project.label(name) for name in project.names_with_labels}


def same(one, other):
    return one.keys() == other.keys() and all(one[name].equals(other[name]) for name in one)


# ---------------------------------------------------------------- what a session does


def moves(seed, saves):
    """Edits of a frame or of many, drags, undo, and saves: in ``saves`` of a hundred moves."""
    chance, entries, gesture = random.Random(seed), 0, None
    for number in itertools.count():
        if chance.randrange(100) < saves:
            yield {"kind": "save"}
        elif entries and chance.random() < 0.2:
            entries, gesture = entries - 1, None
            yield {"kind": "undo"}
        else:
            drag = gesture if gesture is not None and chance.random() < 0.7 else number
            entries, gesture = entries + (drag != gesture), drag
            many = chance.choice([1, 1, 1, 40])
            frames = [f"{chance.randrange(60):02d}.png" for _ in range(many)]
            xs = {frame: chance.uniform(-9, 999) for frame in frames}
            yield {"kind": "edit", "xs": xs, "gesture": drag}


def moved(label, x):
    return place(label, int(x) % 2, x, float(int(x)))


def make(project, move):
    """One move, in a project."""
    if move["kind"] == "edit":
        changes = {frame: moved(project.label(frame), x) for frame, x in move["xs"].items()}
        assert project.edit(changes, "move", move["gesture"]) is not None
        assert not project.trouble
    elif move["kind"] == "undo":
        project.undo()
    else:
        project.save()


def states(labels, todo):
    """Labels before and after each move, worked out in memory."""
    past, gesture = [], None
    yield labels
    for move in todo:
        if move["kind"] == "edit":
            if move["gesture"] != gesture:
                past.append(labels)
            empty = FrameLabel.empty(2)
            new = {frame: moved(labels.get(frame, empty), x) for frame, x in move["xs"].items()}
            labels, gesture = labels | new, move["gesture"]
        elif move["kind"] == "undo":
            labels, gesture = past.pop(), None
        yield labels


# ---------------------------------------------------------------- kills at any time


def tell(text):
    os.write(1, f"{text}\n".encode())  # whole, and gone at once


def label_until_killed(folder, seed, saves):
    tell(f"pid {os.getpid()}")
    project = AnnotationProject.open(folder)
    assert not project.read_only
    for move in moves(seed, saves):
        tell("begin " + move["kind"])
        make(project, move)
        tell("done")


def serve():
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                label_until_killed(**json.loads(line))
            finally:
                os._exit(1)
        os.waitpid(child, 0)
        tell("end")


def killed_session(server, chance, **job):
    """What a session told until it was killed: after some moves, at any time in the next ones."""
    server.stdin.write(json.dumps(job) + "\n")
    server.stdin.flush()
    word, child = server.stdout.readline().split()
    assert word == "pid"
    told, wanted = [], chance.randrange(20)
    while told.count("done\n") < wanted:
        told.append(server.stdout.readline())
        assert told[-1] not in ("end\n", ""), "the session has failed"
    time.sleep(chance.uniform(0, 0.02))
    os.kill(int(child), signal.SIGKILL)
    return told + list(iter(server.stdout.readline, "end\n"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to be quick")
@pytest.mark.parametrize("saves", [3, 50], ids=["labelling", "saving"])
def test_a_killed_session_loses_nothing(tmp_path, saves):
    folder, chance = tmp_path / "a.flexpose", random.Random(saves)
    AnnotationProject.create(folder, PAIR, tmp_path).close()
    labels, edits, cut_off = {}, 0, []
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with server:
        for seed in range(KILLS):
            told = killed_session(server, chance, folder=str(folder), seed=seed, saves=saves)
            done = told.count("done\n")
            known = states(labels, moves(seed, saves))
            accepted, in_flight = itertools.islice(known, done, done + 2)
            found = []
            copy = shutil.copytree(folder, tmp_path / f"{seed}.flexpose")
            for _ in range(2):
                again = AnnotationProject.open(copy)
                found.append(labels_in(again))
                again.close()
            assert same(found[0], accepted) or same(found[0], in_flight), (seed, done)
            assert same(found[0], found[1])
            labels, edits = found[0], edits + done
            cut_off += [line.split()[1] for line in told[-1:] if line.startswith("begin")]
        server.stdin.close()
    assert edits > KILLS and len(labels) > 30
    assert cut_off.count("save" if saves == 50 else "edit") > 2


# ---------------------------------------------------------------- a crash at each system call


class Crash(BaseException):
    """The process is gone."""


class Mortal:
    """Ends the process before or after its n-th call that touches files, simulated."""

    def __init__(self, patch, last, after):
        self.calls, self.last, self.after = 0, last, after
        for module, name in (
            (io, "open"),
            (os, "open"),
            (os, "replace"),
            (os, "fsync"),
            (os, "unlink"),
            (os, "mkdir"),
        ):
            patch.setattr(module, name, self.dying(getattr(module, name)))

    def dying(self, call):
        def called(*args, **kwargs):
            self.calls += 1
            if self.calls < self.last:
                return call(*args, **kwargs)
            if self.calls == self.last and self.after:
                call(*args, **kwargs)
            raise Crash  # and nothing can be tidied up any more

        return called


def crashes(act):
    """End ``act`` at each of its calls in turn, and give the number of the call."""
    for after in (False, True):
        for last in itertools.count(1):
            with pytest.MonkeyPatch.context() as patch:
                mortal = Mortal(patch, last, after)
                with contextlib.suppress(Crash):
                    act()
            yield last
            if mortal.calls < last:
                break


SESSION = [
    {"kind": "edit", "xs": {"a": 1.5, "b": 2.5}, "gesture": 1},
    {"kind": "save"},
    {"kind": "edit", "xs": {"a": 3.5}, "gesture": 2},
    {"kind": "edit", "xs": {"a": 4.5}, "gesture": 2},
    {"kind": "undo"},
    {"kind": "edit", "xs": {"c": 5.5}, "gesture": 3},
    {"kind": "save"},
    {"kind": "edit", "xs": {"b": 6.5}, "gesture": 4},
    {"kind": "save"},
]


def check_each_crash(start, tmp_path, labels=None):
    """Play SESSION on copies of the project ``start``, with a crash at each call."""
    known = list(states(labels or {}, SESSION))
    made, folder = [], tmp_path / "now.flexpose"

    def act():
        project = AnnotationProject.open(folder)
        for move in SESSION:
            make(project, move)
            made.append(move)

    shutil.copytree(start, folder)
    for last in crashes(act):
        copy = shutil.copytree(folder, tmp_path / "copy.flexpose")
        found = []
        for _ in range(2):
            again = AnnotationProject.open(copy)
            found.append(labels_in(again))
            again.close()
        assert any(same(found[0], state) for state in known[len(made) : len(made) + 2]), last
        assert same(found[0], found[1])
        made.clear()
        shutil.rmtree(copy)
        shutil.rmtree(folder)
        shutil.copytree(start, folder)
    assert last > 60


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # for speed: nobody pulls the plug here
    folder = tmp_path / "start.flexpose"
    AnnotationProject.create(folder, PAIR, tmp_path).close()
    return folder


def test_a_crash_at_any_call_loses_nothing(start, tmp_path):
    check_each_crash(start, tmp_path)


def test_a_crash_at_any_call_while_files_are_being_repaired_loses_nothing(start, tmp_path):
    project = AnnotationProject.open(start)
    put = dict.fromkeys(("a", "b", "d"), 100.5)
    for move in ({"kind": "edit", "xs": put, "gesture": 1}, {"kind": "save"}):
        make(project, move)
    make(project, {"kind": "edit", "xs": {"a": 200.5}, "gesture": 2})
    labels = labels_in(project)
    broken = shutil.copytree(start, tmp_path / "broken.flexpose")
    (broken / "project.json").write_bytes(b"{")
    with (broken / "journal.jsonl").open("ab") as file:
        file.write(b'{"change": 3, "torn')
    check_each_crash(broken, tmp_path, labels)


def test_a_crash_while_a_project_is_made_leaves_none_or_a_whole_one(tmp_path):
    folder = tmp_path / "a.flexpose"

    def act():
        AnnotationProject.create(folder, PAIR, tmp_path)

    for _ in crashes(act):
        if (folder / "project.json").exists():
            project = AnnotationProject.open(folder)
        else:
            project = AnnotationProject.create(folder, PAIR, tmp_path)
        assert project.skeleton == PAIR
        project.close()
        shutil.rmtree(folder)


def test_any_mixture_of_files_before_and_after_saving_reads_the_same(start, tmp_path):
    # a power cut may keep the newest name of one file and an older one of another
    project = AnnotationProject.open(start)
    for move in SESSION[:-1]:
        make(project, move)
    before = {name: (start / name).read_bytes() for name in FILES}
    project.save()
    after = {name: (start / name).read_bytes() for name in FILES}
    assert all(before[name] != after[name] for name in FILES)
    for number, choice in enumerate(itertools.product((before, after), repeat=len(FILES))):
        mixture = tmp_path / f"{number}.flexpose"
        mixture.mkdir()
        for name, files in zip(FILES, choice, strict=True):
            (mixture / name).write_bytes(files[name])
        assert same(labels_in(AnnotationProject.open(mixture)), labels_in(project))


if __name__ == "__main__":
    serve()
