"""Sessions that CI and people run: `nox` runs the default ones, `nox -l` lists all."""

import os
import pathlib
import shutil

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "imports", "types", "tests", "docs", "wheel", "smoke"]
HERE = pathlib.Path(__file__).parent
PLUGINS = sorted(
    folder.name for folder in (HERE / "plugins").iterdir() if (folder / "__init__.py").exists()
)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("ruff>=0.9")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def imports(session: nox.Session) -> None:
    """Import-linter: imports lead from the top room down, and nowhere in a circle."""
    session.install("-e", ".[dev]")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over the core and every plugin."""
    session.install(".[dev]")
    session.run("mypy", "unet_bench", *(f"plugins/{name}" for name in PLUGINS))


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite against an installed package."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """Tests that take long: kills at random moments, simulations, a browser, LaTeX, compilers."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "slow", "-n", "3", *session.posargs)


@nox.session
def full(session: nox.Session) -> None:
    """Every part and network, of which `tests` takes a sample."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "full", *session.posargs)


@nox.session
def rehearsal(session: nox.Session) -> None:
    """What runs on GPUs, on stand-ins for one."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "rehearsal", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Generated parts of the docs are fresh, and their links lead somewhere."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/test_docs.py", "-o", "addopts=-q", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it into this clean environment, leave the repository, and look for
    every plugin.
    """
    session.install("build", "hatchling")
    built = pathlib.Path(session.create_tmp()) / "dist"
    shutil.rmtree(built, ignore_errors=True)
    session.run(
        "python",
        "-P",
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(built),
        str(HERE),
    )
    session.install(*map(str, built.glob("*.whl")))
    session.chdir(session.create_tmp())
    session.run("python", "-P", "-c", CHECK_WHEEL, *PLUGINS)
    session.run("python", "-P", "-m", "unet_bench", "plugins")
    shutil.rmtree("results", ignore_errors=True)
    session.run(
        "unet-bench",
        "run",
        "-v",
        "unet",
        "--steps",
        "2",
        "--speed-s",
        "0.2",
        "--width-scale",
        "0.125",
    )
    answers(session, next(pathlib.Path("results").iterdir()))


def answers(session: nox.Session, run: pathlib.Path) -> None:
    """Every command that reads a run."""
    for command in ("effects", "rank", "recommend", "summary"):
        session.run("unet-bench", command, str(run), silent=True)
    for form in ("html", "md", "latex", "figures"):
        session.run(
            "unet-bench", "report", str(run), "--format", form, "--out", str(run / f"report-{form}")
        )


CHECK_WHEEL = """
import importlib, pathlib, sys, unet_bench
from unet_bench.registry.plugins import load
where = pathlib.Path(unet_bench.__file__)
assert "site-packages" in where.parts, where
assert (where.parent / "py.typed").exists() and (where.parent / "data" / "brain.npz").exists()
loaded = load()
assert not [p for p in loaded.plugins if p.status != "ok"], loaded.plugins
modules = {p.module for p in loaded.plugins}
missing = set(sys.argv[1:]) - modules
assert not missing, f"plugins without an entry point: {missing}"
"""


@nox.session
def smoke(session: nox.Session) -> None:
    """The main job, tiny: every variant trains, a dozen unlike ones go through every probe, and
    every command reads a run.
    """
    session.install(".")
    for name, command in SMOKE.items():
        out = pathlib.Path(session.create_tmp(), name)
        shutil.rmtree(out, ignore_errors=True)
        session.run("unet-bench", "run", *command.split(), *TINY.split(), "--out", str(out))
    answers(session, next(out.iterdir()))


TINY = "--width-scale 0.125 --size 64x64 --batch 2 --steps 3 --speed-s 0.2 --threads 1"
UNLIKE = (
    "unet,unet-paper,unet-bilinear,unet-residual,unet-separable,unet-no-skip,"
    "unet++,attention-unet,segnet,resnet34-unet,swin-unet,nnunet-plain"
)
SMOKE = {
    "all": "--variants all --probes cost,accuracy --devices cpu,cpu",
    "unlike": f"--variants {UNLIKE} --probes cost,speed,memory,training,accuracy",
}


@nox.session
def bench(session: nox.Session) -> None:
    """pytest-benchmark on parts, paths, our timing and other packages' networks. Ratios within one
    run.
    """
    session.install("-e", ".[test,peers]")
    session.run(
        "pytest", "tests/bench", "-o", "addopts=-q", "-s", "--benchmark-only", *session.posargs
    )


@nox.session
def parity(session: nox.Session) -> None:
    """Our twins of other packages' networks take their weights and compute the same; and those
    packages' networks.
    """
    session.install("-e", ".[test,peers]")
    session.run("pytest", "tests/parity", "tests/plugins/test_peers_plugin.py", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """What needs a CUDA device: marked tests, then the standard preset, resumable. See
    CONTRIBUTING.md.
    """
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "gpu", "-o", "addopts=-q --strict-markers")
    session.run(
        "unet-bench",
        "run",
        "-v",
        "all",
        "--preset",
        "standard",
        "--device",
        "cuda",
        *session.posargs,
    )


@nox.session
def slurm(session: nox.Session) -> None:
    """Jobs on a real Slurm, one node on this machine: needs root, and Debian's slurm-wlm and munge
    installed.
    """
    session.install("-e", ".[test,slurm]")
    session.env["UNET_BENCH_SLURM"] = "1"
    session.run(
        "pytest",
        "tests/slurm",
        "tests/plugins/test_slurm.py",
        "-o",
        "addopts=-q",
        *session.posargs,
    )


@nox.session
def executors(session: nox.Session) -> None:
    """Runs on a real Ray of this machine, with GPUs that are not there, and by submitit's local
    executor.
    """
    session.install("-e", ".[test,ray,slurm]")
    session.run(
        "pytest",
        "tests/plugins/test_ray.py",
        "tests/plugins/test_slurm.py",
        "-o",
        "addopts=-q --strict-markers",
        *session.posargs,
    )


@nox.session(python=False)
def clean(session: nox.Session) -> None:
    """Remove what building and testing left."""
    for name in ("build", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    session.log(f"cleaned {os.fspath(HERE)}")
