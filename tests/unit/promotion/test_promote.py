"""From results on disk to aliases in the registry, on a SQLite store."""

import errno

import candidates
import pytest

from unroll import cli, paths
from unroll.errors import BundleError, ServiceUnavailable, TrackingError
from unroll.promotion import promote, results
from unroll.tracking import registry

pytestmark = pytest.mark.filterwarnings("ignore")
NAMES = ("a", "b", "c")


@pytest.fixture
def project(own_store, tiny):
    candidates.project(own_store, tiny, *NAMES)
    return own_store


def gate(*names):
    """Verdicts by experiment, and the lines that were reported."""
    lines = []
    return {verdict.experiment: verdict for verdict in promote.gate(names, lines.append)}, lines


def aliases():
    return {alias: one.experiment for one in registry.versions(candidates.TASK) for alias in one.aliases}


def test_the_first_becomes_champion(project):
    candidates.experiment(project, "a", wrong=(1, 2))
    found, lines = gate("a")
    assert found["a"].decision == "champion"
    assert [one.passed for one in found["a"].gates] == [True] * 4
    assert "there is no champion yet" in lines[0]
    assert aliases() == {"champion": "a"}
    one = registry.version_of(candidates.TASK, "champion")
    assert one.model_version.startswith("a@")
    assert one.tags["unroll.git_commit"] == "None"  # no git here
    assert one.tags["unroll.gate.fresh_process"].startswith("passed: 32 test rows")
    tags = registry.run_of(one.run_id)["tags"]
    assert tags["unroll.gate.parity"].startswith("passed: ")
    assert tags["unroll.gate.decision"] == "champion"
    assert results.decided("a") == found["a"]
    assert results.unexamined() == []


def test_a_better_one_takes_its_place(project):
    candidates.experiment(project, "a", wrong=(1, 2))
    gate("a")
    candidates.experiment(project, "b")
    found, _ = gate("b")
    assert found["b"].decision == "champion"
    # A fifth of 200 rows: mean −0.2, and 1.96 · √(0.2 · 0.8 / 200) = 0.055 around it.
    assert "mean loss -0.2, 95 % interval -0.255 to -0.145, margin 0.04, on 200 rows" in found["b"].reason
    assert aliases() == {"champion": "b", "previous": "a"}


def test_several_at_once_the_best_first(project):
    candidates.experiment(project, "a", wrong=(1, 2))
    candidates.experiment(project, "b", wrong=(1,))
    candidates.experiment(project, "c", wrong=(1,), salt=1)
    found, lines = gate("a", "b", "c")
    assert [found[name].decision for name in NAMES] == ["refused", "champion", "challenger"]
    assert [line[0] for line in lines] == ["b", "c", "a"]
    assert aliases() == {"champion": "b", "challenger": "c"}


def test_a_champion_that_cannot_take_the_rows(project):
    candidates.experiment(project, "a", wrong=(9,), classes=9)
    gate("a")
    candidates.experiment(project, "b")
    found, _ = gate("b")
    assert found["b"].decision == "undecided"
    assert "cannot be compared with a@" in found["b"].reason
    assert "probabilities" in found["b"].reason
    assert aliases() == {"champion": "a"}
    # Asked again by name, it is examined again; a run of everything leaves it to a person.
    assert results.unexamined() == []
    assert gate("b")[0]["b"] == found["b"]
    done = promote.promote(candidates.TASK, found["b"].version)
    assert "b@" in done
    assert "\n  champion: undecided: cannot be compared with a@" in done
    assert aliases() == {"champion": "b", "previous": "a"}


def test_too_few_rows_to_tell(project):
    """A model as good as the baseline on 200 rows: the interval reaches 0.09, the margin is 0.025."""
    candidates.experiment(project, "a", wrong=(0, 1, 2, 3, 4))
    found, _ = gate("a")
    assert [one.outcome for one in found["a"].gates] == ["passed", "passed", "undecided", "skipped"]
    assert "too few rows to tell whether it is worse than strong by more than 5 %" in found["a"].reason
    assert (found["a"].decision, aliases()) == ("undecided", {})
    assert "\n  baseline: undecided: too few rows" in promote.promote(candidates.TASK, "1")


def test_a_champion_whose_files_are_gone(project):
    candidates.experiment(project, "a")
    gate("a")
    one = registry.version_of(candidates.TASK, "champion")
    for path in project.glob(f"mlruns/**/{one.artifacts}/bundle/model.onnx"):
        path.write_bytes(b"")
    candidates.experiment(project, "b", salt=1)
    found, _ = gate("b")
    assert found["b"].decision == "undecided"
    assert "not what was registered" in found["b"].reason


def test_a_graph_that_was_decided_before(project):
    candidates.experiment(project, "a")
    first, _ = gate("a")
    found, lines = gate("a")
    assert found == first
    assert "decided before; its aliases now: champion" in lines[0]
    # On a machine that has the bundle, but not the verdict.
    paths.promotion("a").unlink()
    found, _ = gate("a")
    assert (found["a"].decision, found["a"].version) == ("champion", "1")
    assert results.unexamined() == []
    assert len(registry.versions()) == 1


def test_killed_before_the_alias_moved(project, monkeypatch):
    candidates.experiment(project, "a")
    real = registry.promote

    def killed(name, version):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "promote", killed)
    with pytest.raises(KeyboardInterrupt):
        gate("a")
    assert [one.aliases for one in registry.versions()] == [()]
    assert results.unexamined() == ["a"]
    monkeypatch.setattr(registry, "promote", real)
    gate("a")
    assert aliases() == {"champion": "a"}
    assert len(registry.versions()) == 1


def test_killed_after_the_alias_moved(project, monkeypatch):
    """The new champion is not compared with itself."""
    candidates.experiment(project, "a", wrong=(1, 2))
    gate("a")
    candidates.experiment(project, "b")
    real = registry.promote

    def killed(name, version):
        real(name, version)
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(registry, "promote", killed)
        with pytest.raises(KeyboardInterrupt):
            gate("b")
    assert aliases() == {"champion": "b", "previous": "a"}
    assert results.unexamined() == ["b"]
    found, _ = gate("b")
    assert found["b"].decision == "champion"
    assert "it is the champion already" in found["b"].reason
    assert registry.version_of(candidates.TASK, "champion").tags[registry.DECISION] == "champion"
    assert aliases() == {"champion": "b", "previous": "a"}
    assert results.unexamined() == []


def test_a_champion_that_cannot_be_read_just_now(project, monkeypatch):
    """Nothing is decided; the next run examines the bundle again."""
    candidates.experiment(project, "a")
    gate("a")
    candidates.experiment(project, "b", salt=1)
    real = promote.load_bundle

    def away(uri):
        raise ServiceUnavailable("no answer")

    def too_many_files(folder):
        if folder.is_relative_to(".unroll"):
            raise BundleError("cannot be read") from OSError(errno.EMFILE, "Too many open files")
        return real(folder)

    for module, name, fault, error in (
        (registry, "resolve", away, ServiceUnavailable),
        (promote, "load_bundle", too_many_files, BundleError),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(module, name, fault)
            with pytest.raises(error):
                gate("b")
        assert [one.experiment for one in registry.versions()] == ["a"]
        assert results.unexamined() == ["b"]
    found, _ = gate("b")
    assert found["b"].decision == "challenger"


def test_rollback_and_back(project):
    candidates.experiment(project, "a", wrong=(1, 2))
    gate("a")
    with pytest.raises(TrackingError, match="previous"):
        promote.rollback(candidates.TASK)
    candidates.experiment(project, "b")
    gate("b")
    done = promote.rollback(candidates.TASK)
    assert "version 1 (a@" in done
    assert "version 2 (b@" in done
    assert aliases() == {"champion": "a", "previous": "b"}
    # The gates do not promote again what was rolled back.
    assert results.unexamined() == []
    promote.rollback(candidates.TASK)
    assert aliases() == {"champion": "b", "previous": "a"}


def run(capsys, *arguments):
    code = cli.main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_line(project, capsys):
    assert run(capsys, "models", "list")[1].startswith("Nothing is registered")
    assert run(capsys, "models", "gate")[1].startswith("No experiment has a bundle")
    candidates.experiment(project, "a", wrong=(1,))
    candidates.experiment(project, "b", wrong=range(8))
    code, out, err = run(capsys, "models", "gate")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines()[2:])) <= 140
    assert "What the gates decided" in out
    row = next(line for line in out.splitlines() if line.startswith("│ b "))
    assert row.split("│")[5].strip() == "–"
    assert "refused" in row
    assert "worse than strong" in row
    code, out, _ = run(capsys, "models", "gate", "a")
    assert "decided before" in out

    out = run(capsys, "models", "list")[1]
    assert out.splitlines()[0] == candidates.TASK
    assert out.splitlines()[1].endswith("champion")
    out = run(capsys, "models", "show", candidates.TASK, "champion")[1]
    for words in ("aliases", "champion", "a@", "data/raw/mnist, DVC md5", "passed: 32 test rows"):
        assert words in out
    code, _, err = run(capsys, "models", "show", "nothing")
    assert code == 2
    assert f"registered models: {candidates.TASK}" in err
    candidates.experiment(project, "c")
    assert run(capsys, "models", "gate", "c")[0] == 0
    assert "version 1" in run(capsys, "models", "rollback", candidates.TASK)[1]
    assert "version 2" in run(capsys, "models", "promote", candidates.TASK, "2")[1]
    code, _, err = run(capsys, "models", "promote", candidates.TASK, "9")
    assert (code, len(err.splitlines())) == (2, 1)
