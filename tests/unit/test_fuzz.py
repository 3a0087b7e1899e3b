"""The fuzzer: each parser takes its samples, and a parser that fails is reported."""

import importlib.util
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.proof import fuzz, fuzz_targets
from tests.proof.fuzz_targets import TARGETS, SlowInputError

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not on this platform"
)


@pytest.mark.parametrize("name", TARGETS)
def test_first_sample_of_a_parser_is_sound(name: str) -> None:
    target = TARGETS[name]
    target.parse(target.samples[0])


def test_proof_that_holds_for_any_input_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trusting:
        def check(self, *_: object) -> "Trusting":
            return self

        holds = True

    monkeypatch.setattr(fuzz_targets, "_all_proofs", lambda: (Trusting(),))
    with pytest.raises(AssertionError), suppress(ValueError):
        TARGETS["proofs"].parse(b"x")


def _raise(error: Exception) -> Callable[[bytes], None]:
    def parse(_: bytes) -> None:
        raise error

    return parse


def test_only_errors_of_the_parser_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz_targets.parse_once(_raise(ValueError()), (ValueError,), b"")
    fuzz_targets.parse_once(_raise(KeyError("__import__")), (ValueError,), b"")  # of the fuzzer
    with pytest.raises(KeyError):
        fuzz_targets.parse_once(_raise(KeyError("x")), (ValueError,), b"")
    monkeypatch.setattr(fuzz_targets, "CPU_SECONDS_MAX", -1)
    with pytest.raises(SlowInputError):
        fuzz_targets.parse_once(lambda data: None, (ValueError,), b"")


@needs_atheris
@pytest.mark.slow
@pytest.mark.parametrize(("errors", "verdict"), [(TARGETS["xml"].errors, "holds"), ((), "FAILED")])
def test_error_that_a_parser_does_not_name_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], errors: tuple[str, ...], verdict: str
) -> None:
    assert fuzz.holds("xml", 1, tmp_path, errors) is (verdict == "holds")
    assert capsys.readouterr().out.startswith(f"xml                      {verdict}, ")
