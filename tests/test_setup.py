"""What `make` does before there is anything: choosing a Python, knowing when to do nothing, finding a browser."""

from __future__ import annotations

import json

import pytest
from packaging.requirements import Requirement
from support.sandbox import REPOSITORY

from scripts import environment, system

BROKEN = None  # a stand-in that exists and fails, as version managers leave them


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Nothing on PATH but the commands of a mapping, name → shell script."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CHROME", "PYTHON", "PIP_ARGS", "VENV"):
        monkeypatch.delenv(name, raising=False)

    def install(scripts):
        for name, script in scripts.items():
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return tmp_path

    return install


def interpreter(version, complete=True):
    """A script that answers a probe like a Python would."""
    numbers = [int(part) for part in version.split(".")]
    return f"echo '{json.dumps([f'/opt/python-{version}', numbers, complete])}'"


@pytest.mark.parametrize(
    ("on_path", "chosen"),
    [
        ({"python3.12": "3.12.1", "python3.11": "3.11.7", "python3": "3.11.7"}, "3.12.1"),
        ({"python3.12": BROKEN, "python3.11": "3.11.7", "python3.10": "3.10.13"}, "3.11.7"),
        ({"python3": "3.10.2"}, "3.10.2"),
        ({"python3": "3.13.0", "python3.10": "3.10.13"}, "3.10.13"),
        ({"python3.12": "3.12.1 without venv", "python3.11": "3.11.7"}, "3.11.7"),
    ],
)
def test_the_newest_python_that_runs_is_chosen(commands, on_path, chosen):
    commands(
        {
            name: "exit 127" if version is BROKEN else interpreter(version.split()[0], "without" not in version)
            for name, version in on_path.items()
        }
    )

    assert environment.choose_python().path == f"/opt/python-{chosen}"


@pytest.mark.parametrize("on_path", [{}, {"python3": "3.9.2"}, {"python3": "3.13.0"}, {"python3.12": BROKEN}])
def test_no_suitable_python_is_a_sentence(commands, on_path):
    commands({name: interpreter(version) if version else "exit 127" for name, version in on_path.items()})

    with pytest.raises(SystemExit, match=r"Python 3\.10, 3\.11 or 3\.12 is needed, and none of .* is one that runs"):
        environment.choose_python()


def test_the_python_asked_for_is_taken_or_refused(commands):
    commands({"python3.12": interpreter("3.12.1"), "python3.10": interpreter("3.10.13"), "old": interpreter("3.8.1")})

    assert environment.choose_python("python3.10").version == (3, 10, 13)
    with pytest.raises(SystemExit, match=r"PYTHON=old is Python 3\.8\.1; 3\.10, 3\.11 or 3\.12 is needed"):
        environment.choose_python("old")
    with pytest.raises(SystemExit, match=r"PYTHON=nothing does not run"):
        environment.choose_python("nothing")


def test_a_stamp_is_good_until_the_requirements_or_python_change(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "STAMP", tmp_path / "stamp.json")
    for name in environment.REQUIREMENTS:
        (tmp_path / name).write_text("numpy\n")
    python = environment.Python("/opt/python", (3, 11, 7), True)
    before = environment.fingerprint(python)
    assert not environment.is_stamped(before)

    (tmp_path / "stamp.json").write_text(json.dumps(before))
    assert environment.is_stamped(environment.fingerprint(python))
    assert not environment.is_stamped(environment.fingerprint(python._replace(version=(3, 12, 1))))

    (tmp_path / environment.REQUIREMENTS[1]).write_text("numpy>=2\n")
    assert not environment.is_stamped(environment.fingerprint(python))


def test_a_browser_has_to_run(commands, monkeypatch):
    folder = commands({"chromium": "echo install the snap; exit 1", "google-chrome": "echo Chrome 150"})
    monkeypatch.setenv("HOME", str(folder))  # no browser of Playwright's
    assert system.find_browser() == str(folder / "google-chrome")

    monkeypatch.setenv("CHROME", "missing-browser")
    assert system.find_browser() is None


def test_what_may_not_be_installed_is_said(commands, monkeypatch, capsys):
    folder = commands({"apt-get": "exit 1", "sudo": "echo a password is required; exit 1"})
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr(system, "BROWSERS", ("chromium",))
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(system, "distribution", lambda: "debian")
    system.main()
    said = capsys.readouterr().out
    assert "run: sudo apt-get install -y --no-install-recommends chromium\n" in said
    assert "run: sudo apt-get install -y --no-install-recommends ffmpeg\n" in said

    monkeypatch.setattr(system, "distribution", lambda: "")
    system.main()
    assert "or run: .venv/bin/python -m playwright install --with-deps chromium\n" in capsys.readouterr().out


def test_the_oldest_releases_are_the_lower_ends_of_the_ranges():
    ranges = {requirement.name: requirement.specifier for requirement in read_requirements("requirements.txt")}
    oldest = {requirement.name: requirement.specifier for requirement in read_requirements("requirements-oldest.txt")}

    assert oldest.keys() <= ranges.keys()
    for name, pin in oldest.items():
        (exact,) = (part.version for part in pin)
        (lower,) = (part.version for part in ranges[name] if part.operator == ">=")
        assert exact in ranges[name]
        assert exact.startswith(lower.removesuffix(".0")), f"{name} {exact} is not the lower end of {ranges[name]}"


def read_requirements(name):
    """The requirements of a file."""
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(text) for text in (line.split("#")[0].strip() for line in lines) if text]
