"""Sessions that CI and people run: `nox` runs the default ones, `nox -l` lists all."""

import os
import pathlib
import re
import shutil
import tomllib

import nox
from nox.command import CommandFailed

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
    session.install("import-linter>=2.1")
    session.run("lint-imports", env={"PYTHONPATH": str(HERE)})


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
def lowest(session: nox.Session) -> None:
    """The test suite with the oldest versions of what the package declares, of each the last patch.

    They take gigabytes where torch's are not at hand.
    """
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    bounds = re.findall(r"^([\w-]+)>=([\w.]+)", "\n".join(declared), re.MULTILINE)
    oldest = pathlib.Path(session.create_tmp()).resolve() / "oldest.txt"
    oldest.write_text("".join(f"{name}=={bound}.*\n" for name, bound in bounds), encoding="utf-8")
    session.install("-e", ".[test]", "-c", str(oldest))
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
def site(session: nox.Session) -> None:
    """The documentation as a site in build/site; a warning, such as a dead link, is an error."""
    session.install("mkdocs-material>=9.5")
    session.run(
        "mkdocs", "build", "--strict", "-f", ".mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"}
    )


@nox.session
def wheel(session: nox.Session) -> None:
    """What would be released: its metadata and contents; the wheel in this clean environment, far
    from the repository: every plugin, a run, a report; and tests from the unpacked sdist.
    """
    session.install("build", "hatchling", "twine>=6", "check-wheel-contents>=0.6")
    folder = pathlib.Path(session.create_tmp()).resolve()
    built, unpacked = folder / "dist", folder / "unpacked"
    for left in (built, unpacked):
        shutil.rmtree(left, ignore_errors=True)
    # The wheel is made from the sdist.
    session.run("python", "-P", "-m", "build", "--no-isolation", "--outdir", str(built), str(HERE))
    session.run("twine", "check", "--strict", *map(str, built.iterdir()))
    [made] = built.glob("*.whl")
    session.run("check-wheel-contents", str(made))
    session.install(f"{made}[test]")
    session.chdir(folder)
    session.run("python", "-P", "-c", CHECK_WHEEL, *PLUGINS)
    session.run("python", "-P", "-m", "unet_bench", "plugins")
    shutil.rmtree("results", ignore_errors=True)
    session.run("unet-bench", "run", "-v", "unet", *TINY.split())
    session.run("unet-bench", "report", str(next(pathlib.Path("results").iterdir())))
    shutil.unpack_archive(next(built.glob("*.tar.gz")), unpacked, filter="data")
    session.chdir(next(unpacked.iterdir()))
    # What reads files of the repository; all else is code, which the wheel has.
    session.run("pytest", "tests/test_docs.py", "tests/test_layout.py", "tests/test_answers.py")


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
    """The main job, tiny: every variant is planned, a dozen unlike ones go through every probe, and
    every command reads a run. That every network trains is shown by `full`.
    """
    session.install(".")
    out = pathlib.Path(session.create_tmp(), "runs")
    shutil.rmtree(out, ignore_errors=True)
    tiny, probes = TINY.split(), ("--probes", "cost,speed,memory,training,accuracy")
    session.run("unet-bench", "plan", "-v", "all", "--probes", "cost", *tiny, silent=True)
    session.run("unet-bench", "run", "-v", UNLIKE, *probes, *tiny, "--out", str(out))
    run = next(out.iterdir())
    for command in ("effects", "rank", "recommend", "summary"):
        session.run("unet-bench", command, str(run), silent=True)
    for form in ("html", "md", "latex", "figures"):
        session.run(
            "unet-bench", "report", str(run), "--format", form, "--out", str(run / f"report-{form}")
        )


TINY = "--width-scale 0.125 --size 64x64 --batch 2 --steps 3 --speed-s 0.2 --threads 1"
UNLIKE = (
    "unet,unet-paper,unet-bilinear,unet-residual,unet-separable,unet-no-skip,"
    "unet++,attention-unet,segnet,resnet34-unet,swin-unet,nnunet-plain"
)


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
def published(session: nox.Session) -> None:
    """Figures that others published, reproduced. `-- -m "not slow"`: those that take a minute."""
    session.install("-e", ".[test,monai]")
    # One process: threads of its own for each training.
    session.run("pytest", "tests/published", "-n", "0", *(session.posargs or ["-m", ""]))


@nox.session
def exports(session: nox.Session) -> None:
    """Networks as files that agree: without torch, and in each runtime that is not torch."""
    session.install("-e", ".[test,onnx,openvino]")
    session.run("pytest", "tests/export", *(session.posargs or ["-m", ""]))


@nox.session
def gpu(session: nox.Session) -> None:
    """What needs a GPU: marked tests, then a certificate, also where tests fail. docs/gpu.md.

    `nox -s gpu -- --minutes 9`; with `--resume FOLDER` the certificate goes on.
    """
    session.install("-e", ".[test]")
    failed = False
    if "--resume" not in session.posargs:
        try:
            session.run("pytest", "-m", "gpu", "-o", "addopts=-q --strict-markers")
        except CommandFailed:
            failed = True
    session.run("unet-bench", "certify", *session.posargs)
    if failed:
        session.error("tests marked gpu failed")


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
