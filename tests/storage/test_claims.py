"""One process at a time is at what has a key; a lease that is taken over damages nothing."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from environment import environment

from bench.errors import BadValue, ClaimLost
from bench.storage import claims, mounts
from bench.storage.artifacts import ArtifactStore
from bench.storage.claims import Claims, Lease
from bench.storage.mounts import describe_unreached, find_mount, parse_mounts, reaches


@pytest.fixture(params=["lock", "lease"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Claims:
    kept = Claims(tmp_path / "work")
    kept.choose(request.param)
    return kept


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have leases touched and taken over within a second."""
    monkeypatch.setattr(claims, "BEAT_S", 0.05)
    monkeypatch.setattr(claims, "SILENT_S", 0.6)
    monkeypatch.setattr(claims, "LOOK_S", 0.05)


def age(lease: Path) -> None:
    """Have a lease look as if nobody had touched it for an hour."""
    os.utime(lease, (time.time() - 3600, time.time() - 3600))


def test_one_at_a_time_has_a_key_and_any_number_have_others(both: Claims) -> None:
    other = Claims(both.folder)
    with both.attempt("a") as first, other.attempt("a") as second, other.attempt("b") as third:
        had = [bool(first), bool(second), bool(third)]
    with other.attempt("a") as later:
        assert later

    assert had == [True, False, True]


def test_who_holds_waits_for_the_one_before(both: Claims, quick: None) -> None:
    told = both.folder / "told"
    code = f"""
        import sys, time
        from pathlib import Path
        from bench.storage.claims import Claims
        with Claims(Path({str(both.folder)!r})).hold("a"):
            print("held", flush=True)
            sys.stdin.readline()
            Path({str(told)!r}).write_text("over")
    """
    with start(code) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with both.attempt("a") as early:
            assert not early
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        with both.hold("a"):
            assert told.read_text() == "over"


def start(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    )


def test_a_lease_that_is_touched_is_not_taken_over(tmp_path: Path, quick: None) -> None:
    first, second = Lease(tmp_path, "a"), Lease(tmp_path, "a")

    assert first.take()
    for _ in range(6):
        time.sleep(0.2)
        assert not second.take()
    first.release()
    assert second.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lease_that_is_not_touched_is_taken_over_once_and_its_owner_finds_out(tmp_path: Path) -> None:
    owner, others = Lease(tmp_path, "a"), [Lease(tmp_path, "a") for _ in range(3)]
    owner.take()
    age(owner.path)
    taken = [other.take() for other in others]
    with pytest.raises(ClaimLost, match=r"gave no sign of life for 60 s, and another took over"):
        owner.check()
    owner.release()

    assert taken == [True, False, False]
    others[0].check()
    assert owner.path.read_text() == others[0].token


def test_a_fresh_lease_that_is_taken_for_the_silent_one_before_it_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, quicker, slower = (Lease(tmp_path, "a") for _ in range(3))
    silent.take()
    age(silent.path)
    seen = slower._look()  # noqa: SLF001 - what it saw before another was there
    quicker.take()
    monkeypatch.setattr(slower, "_look", lambda: seen)  # it looked before the quicker one was there

    assert not slower.take()
    quicker.check()


def test_processes_that_all_find_a_silent_lease_get_it_one_after_the_other(tmp_path: Path) -> None:
    """Each adds one to a number without any other protection: none is lost."""
    number = tmp_path / "number"
    number.write_text("0")
    (tmp_path / "a.lease").write_text("of a process that was killed")
    age(tmp_path / "a.lease")
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=add_often, args=(tmp_path, number)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert number.read_text() == str(4 * 10)


def add_often(folder: Path, number: Path) -> None:
    claims.LOOK_S = 0.001
    kept = Claims(folder)
    kept.kind = "lease"
    for _ in range(10):
        with kept.hold("a"):
            value = int(number.read_text())
            time.sleep(0.002)
            number.write_text(str(value + 1))


def test_leases_need_no_lock_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system whose locks do not reach other machines, each finds every lock free."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with_locks, with_leases = Claims(tmp_path / "locks"), Claims(tmp_path / "leases")
    with_locks.choose("lock")
    with_leases.choose("lease")
    with with_locks.attempt("a") as first, with_locks.attempt("a") as second:
        assert [bool(first), bool(second)] == [True, True]  # what leases are for
    with with_leases.attempt("a") as first, with_leases.attempt("a") as second:
        assert [bool(first), bool(second)] == [True, False]


def test_what_a_sleeper_makes_is_not_taken_where_another_took_over(tmp_path: Path) -> None:
    ours, theirs = ArtifactStore(tmp_path), ArtifactStore(tmp_path)
    ours.claims.choose("lease")
    with pytest.raises(ClaimLost), ours.locked("key"):
        sleep_in_the_middle(ours, theirs)
    found = theirs.find("key")

    assert found
    assert (found / "checkpoint").read_text() == "half"  # which the other went on from
    assert (found / "result").read_text() == "theirs"


def sleep_in_the_middle(ours: ArtifactStore, theirs: ArtifactStore) -> None:
    """Write an artifact while another process takes the lease over and does, too."""
    with ours.write("key") as slept:
        (slept / "checkpoint").write_text("half")
        age(ours.claims.folder / "key.lease")
        with theirs.locked("key"), theirs.write("key") as folder:
            (folder / "result").write_text("theirs")
            (slept / "result").write_text("ours")  # into a folder of its own


def test_the_lease_of_a_process_of_this_machine_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    code = f"""
        import time
        from pathlib import Path
        from bench.storage.claims import Claims
        with Claims(Path({str(tmp_path)!r})).attempt("a") as lease:
            print("held", flush=True)
            time.sleep(60)
    """
    Claims(tmp_path).choose("lease")
    other = Lease(tmp_path, "a")
    with start(code) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        while_alive = other.take()
        process.kill()
        process.wait()
    after = other.take()
    other.release()

    assert (while_alive, after) == (False, True)


def test_an_owner_elsewhere_is_not_taken_for_dead_by_its_number(tmp_path: Path) -> None:
    lease = Lease(tmp_path, "a")
    lease.path.write_text("a-machine-0123456789abcdef-4194300-00")
    elsewhere = lease.take()
    lease.path.write_text(lease.token.replace(f"-{os.getpid()}-", "-4194300-"))  # more than Linux has
    here = lease.take()
    lease.release()

    assert (elsewhere, here) == (False, True)


def test_of_two_that_end_at_once_the_first_is_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ArtifactStore(tmp_path), ArtifactStore(tmp_path)
    ours.claims.choose("lease")
    looked: list[Lease] = []

    def look(lease: Lease) -> None:
        looked.append(lease)
        if len(looked) == 1:  # it was still its own; now it is not
            age(lease.path)
            with theirs.locked("key"), theirs.write("key") as second:
                (second / "result").write_text("theirs")

    monkeypatch.setattr(Lease, "check", look)
    with ours.locked("key"), ours.write("key") as first:
        (first / "result").write_text("ours")

    assert len(looked) == 2
    assert (tmp_path / "artifacts" / "key" / "result").read_text() == "theirs"
    assert ours.find_damage("key") == ""
    assert [path.name for path in (tmp_path / "artifacts" / ".work").iterdir() if path.is_dir()] == []


def test_the_next_owner_goes_on_from_what_one_that_left_has_written(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.claims.choose("lease")
    with contextlib.suppress(InterruptedError), store.locked("key"), store.write("key") as folder:
        (folder / "checkpoint").write_text("step 7")
        raise InterruptedError
    with store.locked("key"), store.write("key") as folder:
        found = (folder / "checkpoint").read_text()

    assert found == "step 7"


def test_a_process_that_is_stopped_loses_its_lease_and_says_so(tmp_path: Path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from bench.errors import ClaimLost
        from bench.storage import claims
        claims.BEAT_S = 0.05
        with claims.Claims(Path({str(tmp_path)!r})).attempt("a") as lease:
            print("held", flush=True)
            sys.stdin.readline()
            try:
                lease.check()
            except ClaimLost:
                print("lost", flush=True)
    """
    Claims(tmp_path).choose("lease")
    with start(code) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        age(tmp_path / "a.lease")
        with Claims(tmp_path).attempt("a") as lease:
            assert lease
            process.send_signal(signal.SIGCONT)
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            assert process.stdout.readline() == "lost\n"
            lease.check()


def test_all_processes_of_a_folder_claim_in_the_way_of_the_first(tmp_path: Path) -> None:
    Claims(tmp_path).choose("lease")

    assert Claims(tmp_path).kind == "lease"
    assert Claims(tmp_path).resolve("auto") == "lease"
    with pytest.raises(BadValue, match=r"^--claims: lock was asked for, and the runs in .* have lease\."):
        Claims(tmp_path).choose("lock")


def test_where_locks_do_not_reach_other_machines_claims_are_leases_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(claims, "describe_unreached", lambda _: "fuse.sshfs")
    kept = Claims(tmp_path)
    kept.choose("auto")

    assert kept.kind == "lease"
    (said,) = caplog.messages
    assert "it is on fuse.sshfs, whose locks may not reach other machines. Claims are leases" in said


MOUNTINFO = """\
22 1 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:40 / /home rw - nfs4 server:/home rw,vers=4.2,local_lock=none
31 27 0:41 / /scratch\\040space rw - lustre mds@tcp:/fs rw,flock
32 31 0:42 / /scratch\\040space/remote rw - fuse.sshfs me@there: rw
33 27 0:43 / /größe rw - nfs server:/g rw,nolock
34 27 0:44 / /wide\u3000\u2028space rw - nfs server:/w rw,nolock
35 27 0:45 / /a\\134b rw - nfs server:/b rw,nolock
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/tmp", "ext4"),  # noqa: S108 - a name
        ("/home/me/results", "nfs4"),
        ("/homes", "ext4"),
        ("/scratch space/results", "lustre"),
        ("/scratch space/remote/results", "fuse.sshfs"),
        ("/größe/results", "nfs"),
        ("/wide\u3000\u2028space", "nfs"),
        ("/a\\b", "nfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_deepest_mount(folder: str, kind: str) -> None:
    mount = find_mount(Path(folder), parse_mounts(MOUNTINFO))

    assert mount
    assert mount.kind == kind


def test_a_mount_whose_name_is_no_text_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "r"
    table = f"{MOUNTINFO}37 27 0:47 / {tmp_path} rw - nfs server:/t rw,nolock\n".encode()
    (tmp_path / "mountinfo").write_bytes(b"36 27 0:46 / /odd\xff rw - ext4 /dev/b rw\n" + table)
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")

    assert describe_unreached(folder).startswith("nfs")
    assert describe_unreached(Path(os.fsdecode(b"/odd\xff/results"))) == ""


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("ext4", {"rw"}, True),
        ("nfs4", {"rw", "local_lock=none"}, True),
        ("nfs", {"rw", "nolock"}, False),
        ("nfs", {"rw", "local_lock=flock"}, False),
        ("lustre", {"rw", "flock"}, True),
        ("lustre", {"rw", "localflock"}, False),
        ("gpfs", {"rw"}, True),
        ("fuse.sshfs", {"rw"}, False),
        ("beegfs", {"rw"}, False),
    ],
)
def test_locks_reach_other_machines_on_some_file_systems(
    kind: str, options: set[str], *, expected: bool
) -> None:
    assert reaches(kind, options) is expected
