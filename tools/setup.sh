#!/bin/sh
# Make .venv and install what is missing. Usage: tools/setup.sh run|dev|vm
#   run: what `ltrules run` needs; dev: also what the tests and checks need; vm: also what guests with other kernels need.
# Nothing is done twice: a stamp in .venv says for which pyproject.toml and directory it was made.
set -eu
cd "$(dirname "$0")/.."

level=${1:-dev}
python=/usr/bin/python3
venv_python=.venv/bin/python
stamp=.venv/.ready-$level

say() {
    echo "setup: $*" >&2
}

has_clang() {
    command -v clang >/dev/null || ls /usr/bin/clang-[0-9]* >/dev/null 2>&1
}

# The Debian packages that are missing, found by what they are for, so that it works on other distributions too.
missing_packages() {
    [ -x "$venv_python" ] || "$python" -c 'import ensurepip' 2>/dev/null || echo python3-venv
    has_clang || echo clang
    # Without Python nothing can be tried, and the library is small.
    "$python" -c 'import ctypes; ctypes.CDLL("libbpf.so.1")' 2>/dev/null || echo libbpf1
    if [ "$level" != run ]; then
        command -v stress-ng >/dev/null || echo stress-ng
        command -v fio >/dev/null || echo fio
        # What reads and makes the traces that `ltrules replay` takes.
        command -v trace-cmd >/dev/null || echo trace-cmd
        command -v babeltrace2 >/dev/null || echo babeltrace2
        command -v perf >/dev/null || echo linux-perf
        command -v zstd >/dev/null || echo zstd
        { command -v chrt && command -v taskset; } >/dev/null || echo util-linux
    fi
    if [ "$level" = vm ]; then
        command -v qemu-system-x86_64 >/dev/null || echo qemu-system-x86
        { command -v busybox && ! ldd "$(command -v busybox)"; } >/dev/null 2>&1 || echo busybox-static
        command -v depmod >/dev/null || echo kmod
        command -v dmsetup >/dev/null || echo dmsetup
        # Modules are compressed, and virtme-ng asks `file` whether busybox is static.
        for tool in file zstd; do
            command -v "$tool" >/dev/null || echo "$tool"
        done
        command -v xz >/dev/null || echo xz-utils
    fi
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1
}

# Install Debian packages; on failure print what apt said, such as that dpkg was interrupted.
install_packages() {
    say "installing $*"
    if output=$(apt update) && output=$(apt install -y --no-install-recommends "$@"); then
        return 0
    fi
    printf '%s\n' "$output" | tail -n 20 >&2
    return 1
}

missing=$(missing_packages | tr '\n' ' ')
missing=${missing% }
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086  # a list of words
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || ! install_packages $missing; then
        say "cannot install these Debian packages, or what they are called elsewhere: $missing"
        say "install them as root, on Debian: apt-get install $missing"
        case " $missing " in
        *" python3-venv "*) exit 1 ;;
        *) say "going on without them" ;;
        esac
    fi
fi

wanted="$(pwd) $("$python" -V) $(sha256sum <pyproject.toml)"
if [ -x "$venv_python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

if ! "$venv_python" -m pip --version >/dev/null 2>&1; then
    say "making .venv"
    "$python" -m venv --clear --system-site-packages .venv
fi
case $level in # who has the tools has what running needs
run) target=. levels=run ;;
dev) target='.[dev]' levels='run dev' ;;
vm) target='.[dev,vm]' levels='run dev vm' ;;
esac
say "installing Python packages (the first time this takes a while)"
if ! "$venv_python" -m pip install -qq --disable-pip-version-check --editable "$target"; then
    say "pip could not install what pyproject.toml asks for: is a package index reachable?"
    exit 1
fi
for done in $levels; do
    printf '%s\n' "$wanted" >".venv/.ready-$done"
done
