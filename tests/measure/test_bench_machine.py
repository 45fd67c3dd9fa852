"""Limits of the control group, and the load, from files as the kernel writes them."""

import os

import pytest

from leannet.measure.bench import CpuLimits, LoadMeter, cpu_limits, free_memory_bytes, process_peak_bytes


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5}, raising=False)


def test_no_limits(tmp_path):
    limits = cpu_limits(tmp_path)
    assert limits == CpuLimits(affinity=4, quota=None)
    assert limits.threads == 4
    assert limits.sentence() == "4 threads can run at once: affinity for 4 cores, no quota"


@pytest.mark.parametrize(
    ("text", "quota", "threads"),
    [
        ("max 100000\n", None, 4),
        ("250000 100000\n", 2.5, 2),
        ("50000 100000\n", 0.5, 1),
        ("800000 100000\n", 8.0, 4),
    ],
)
def test_quota_of_version_2(tmp_path, text, quota, threads):
    write(tmp_path / "proc/self/cgroup", "0::/user.slice/shell\n")
    write(tmp_path / "sys/fs/cgroup/user.slice/shell/cpu.max", text)
    limits = cpu_limits(tmp_path)
    assert (limits.quota, limits.threads) == (quota, threads)


def test_the_smallest_quota_on_the_way_up_holds(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path / "sys/fs/cgroup/a/b/cpu.max", "400000 100000\n")
    write(tmp_path / "sys/fs/cgroup/a/cpu.max", "150000 50000\n")
    assert cpu_limits(tmp_path).quota == 3.0


def test_in_a_container_the_path_of_the_group_is_not_there(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/docker/0123\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "200000 100000\n")
    limits = cpu_limits(tmp_path)
    assert (limits.quota, limits.threads) == (2.0, 2)
    assert "a quota of 2 cores" in limits.sentence()


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3.0), ("-1", None)])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_quota_of_version_1(tmp_path, quota, expected, mount):
    write(tmp_path / "proc/self/cgroup", f"9:name=systemd:/\n3:cpuset:/\n2:{mount}:/jobs\n0::/\n")
    write(tmp_path / f"sys/fs/cgroup/{mount}/jobs/cpu.cfs_quota_us", f"{quota}\n")
    write(tmp_path / f"sys/fs/cgroup/{mount}/jobs/cpu.cfs_period_us", "100000\n")
    assert cpu_limits(tmp_path).quota == expected


def test_free_memory_is_what_system_and_groups_leave(tmp_path):
    assert free_memory_bytes(tmp_path) is None
    write(tmp_path / "proc/meminfo", "MemTotal:       8000 kB\nMemFree:  10 kB\nMemAvailable:    3000 kB\n")
    assert free_memory_bytes(tmp_path) == 3000 * 1024
    write(tmp_path / "proc/self/cgroup", "0::/a\n")
    write(tmp_path / "sys/fs/cgroup/a/memory.max", "max\n")
    write(tmp_path / "sys/fs/cgroup/a/memory.current", "1000\n")
    assert free_memory_bytes(tmp_path) == 3000 * 1024
    write(tmp_path / "sys/fs/cgroup/a/memory.max", "2001000\n")
    assert free_memory_bytes(tmp_path) == 2_000_000


def test_free_memory_of_version_1(tmp_path):
    write(tmp_path / "proc/self/cgroup", "4:memory:/jobs\n")
    write(tmp_path / "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "5000\n")
    write(tmp_path / "sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "6000\n")
    assert free_memory_bytes(tmp_path) == 0


def test_damaged_files_are_no_limits(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "much\n")
    assert cpu_limits(tmp_path).quota is None


def test_what_others_took(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 1.0, 0.5))
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    ours = [(1.0, 0.5, 0.25, 0.25, 0.0)]
    monkeypatch.setattr(os, "times", lambda: ours[0])
    #            user nice system idle iowait irq softirq steal guest
    write(tmp_path / "proc/stat", "cpu  1000 100 200 5000 10 1 2 3 0\ncpu0 1 2 3\n")
    meter = LoadMeter(tmp_path)
    # 10 seconds of cores pass: 4 idle, 6 busy, of which 3.5 are ours.
    write(tmp_path / "proc/stat", "cpu  1500 100 300 5300 110 1 2 3 0\ncpu0 1 2 3\n")
    ours[0] = (4.0, 1.0, 0.25, 0.25, 9.0)
    load = meter.finish()
    assert load.others == pytest.approx((6 - 3.5) / 10)
    assert (load.before, load.after) == (1.5, 1.5)


def test_a_system_that_does_not_tell(tmp_path, monkeypatch):
    def unknown():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown)
    load = LoadMeter(tmp_path).finish()
    assert (load.before, load.after, load.others) == (None, None, None)


def test_peak_memory_of_the_process_covers_what_was_allocated():
    before = process_peak_bytes()
    block = bytearray(b"x" * 64 * 2**20)
    assert process_peak_bytes() >= max(before, len(block))
