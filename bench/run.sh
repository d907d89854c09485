#!/usr/bin/env bash
# CPU per request of several servers, measured in turns against a raw mio loop: see README.md.
set -euo pipefail

usage() {
    cat <<'END'
usage: bench/run.sh [--rounds N] [--seconds S] [--connections C] [--pipeline DEPTH] [SERVER...]

A SERVER is a program that takes --addr HOST:PORT and answers GET / there. raw_mio, once more
raw_mio (the noise) and hyper_peer always run; without a SERVER so does Squall's plaintext, built
first. Needs two CPUs, taskset, and wrk (Debian, Ubuntu: apt install wrk).

  --rounds N        slices of each server [9]
  --seconds S       length of a slice [2]
  --connections C   kept alive all the while [64]
  --pipeline DEPTH  requests sent at once on a connection [1]
END
}

main() {
    local rounds=9 seconds=2 connections=64 depth=1 servers=()
    while (($#)); do
        case $1 in
            --rounds) rounds=$2; shift 2 ;;
            --seconds) seconds=$2; shift 2 ;;
            --connections) connections=$2; shift 2 ;;
            --pipeline) depth=$2; shift 2 ;;
            --help) usage; exit ;;
            -*) usage >&2; exit 2 ;;
            *) servers+=("$(realpath "$1")"); shift ;;
        esac
    done
    need wrk taskset
    (($(nproc) > 1)) || { echo "needs two CPUs: one for the server, one for the load" >&2; exit 1; }
    read -r server_cpu load_cpu < <(two_cpus)

    local here root
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) root=$(dirname "$here")
    # The target directories are named, so that a CARGO_TARGET_DIR cannot hide what was built.
    (cd "$here" && cargo build --quiet --release --target-dir "$here/target")
    if ((${#servers[@]} == 0)); then
        (cd "$root" && cargo build --quiet --release --target-dir "$root/target" --example plaintext)
        servers=("$root/target/release/examples/plaintext")
    fi
    local bin=$here/target/release
    servers=("$bin/raw_mio" "$bin/raw_mio" "$bin/hyper_peer" "${servers[@]}")

    scratch=$(mktemp -d) pids=() addresses=()
    trap stop_servers EXIT
    trap 'exit 130' INT TERM
    pipeline_script "$depth" >"$scratch/pipeline.lua"
    for i in "${!servers[@]}"; do start_server "$i" "${servers[i]}"; done

    for ((round = 0; round <= rounds; round++)); do
        echo "round $round of $rounds" >&2 # the first warms up and does not count
        for i in $(order "${#servers[@]}" "$round"); do
            slice "$round" "$i" "$seconds" "$connections"
        done
    done
    echo "$connections connections, $depth in flight on each, $rounds slices of $seconds s," \
        "server on CPU $server_cpu, wrk on CPU $load_cpu, Linux $(uname -r)"
    report "$scratch/slices" "${servers[@]}"
}

need() {
    for tool; do
        command -v "$tool" >/dev/null || { echo "needs $tool; see --help" >&2; exit 1; }
    done
}

# The first two CPUs that this process may use.
two_cpus() {
    awk '/^Cpus_allowed_list/ {
        n = split($2, ranges, ",")
        for (i = 1; i <= n; i++) {
            split(ranges[i], ends, "-")
            for (cpu = ends[1]; cpu <= (ends[2] == "" ? ends[1] : ends[2]); cpu++) print cpu
        }
    }' /proc/self/status | head -n 2 | paste -s -d ' '
}

# Every other round backwards, so that a drift of the machine favours nobody.
order() {
    if (($2 % 2)); then seq $(($1 - 1)) -1 0; else seq 0 $(($1 - 1)); fi
}

start_server() {
    taskset -c "$server_cpu" "$2" --addr 127.0.0.1:0 >"$scratch/address.$1" &
    pids[$1]=$!
    until grep -q . "$scratch/address.$1"; do
        kill -0 "${pids[$1]}" 2>/dev/null || { echo "$2 does not start" >&2; exit 1; }
        sleep 0.02
    done
    addresses[$1]=$(head -n 1 "$scratch/address.$1")
}

stop_servers() {
    if ((${#pids[@]})); then kill "${pids[@]}" 2>/dev/null || true; fi
    rm -rf "$scratch"
}

pipeline_script() {
    cat <<END
init = function(args)
    local all = {}
    for i = 1, $1 do all[i] = wrk.format() end
    requests = table.concat(all)
end
request = function() return requests end
END
}

# One line for each slice: round, server, requests, CPU ticks.
slice() {
    local round=$1 i=$2 seconds=$3 connections=$4 before after out requests
    before=$(cpu_ticks "${pids[$i]}")
    out=$(taskset -c "$load_cpu" wrk -t 1 -c "$connections" -d "${seconds}s" \
        -s "$scratch/pipeline.lua" "http://${addresses[$i]}/")
    after=$(cpu_ticks "${pids[$i]}")
    if grep -E 'Non-2xx|Socket errors' <<<"$out" >&2; then
        echo "${servers[$i]} made errors" >&2
        exit 1
    fi
    requests=$(awk '/requests in/ { print $1 }' <<<"$out")
    ((round == 0)) || echo "$round $i $requests $((after - before)) $seconds" >>"$scratch/slices"
}

# utime + stime of all threads, in clock ticks: fields 14 and 15 of proc_pid_stat(5), counted after
# the name in brackets, which may hold spaces.
cpu_ticks() {
    awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

# Medians over the rounds; a ratio is taken within its round, to the first raw_mio.
report() {
    local slices=$1
    shift
    awk -v names="$*" -v hertz="$(getconf CLK_TCK)" '
        function quantile(list, n, q,    i, j, t) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && list[j] < list[j - 1]; j--) {
                    t = list[j]; list[j] = list[j - 1]; list[j - 1] = t
                }
            i = 1 + (n - 1) * q; j = int(i)
            return j == n ? list[n] : list[j] + (i - j) * (list[j + 1] - list[j])
        }
        { cost[$1, $2] = $4 / hertz * 1e6 / $3; rate[$1, $2] = $3 / $5; busy[$1, $2] = $4 / hertz / $5
          if ($1 > rounds) rounds = $1; if ($2 >= servers) servers = $2 + 1 }
        END {
            split(names, path, " ")
            printf "%-12s %12s %10s %16s %12s %8s\n",
                "server", "CPU/request", "x raw mio", "quartiles", "requests/s", "busy"
            for (s = 0; s < servers; s++) {
                for (r = 1; r <= rounds; r++) {
                    c[r] = cost[r, s]; x[r] = cost[r, s] / cost[r, 0]
                    p[r] = rate[r, s]; b[r] = busy[r, s]
                }
                name = path[s + 1]; sub(/.*\//, "", name)
                printf "%-12s %9.3f us %10.3f %7.3f to %5.3f %12d %6.0f %%\n", name,
                    quantile(c, rounds, 0.5), quantile(x, rounds, 0.5), quantile(x, rounds, 0.25),
                    quantile(x, rounds, 0.75), quantile(p, rounds, 0.5), 100 * quantile(b, rounds, 0.5)
            }
        }' "$slices"
}

main "$@"
