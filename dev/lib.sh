# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What dev/up and dev/down share: where things lie, and which process is whose.
#
# Each service is started in a session of its own, with DIR/run as working directory, and writes
# DIR/run/<service>.pid itself before it becomes the service: "PID START BOOT", where START is the start
# time in /proc/PID/stat and BOOT the id of the running kernel. A number alone proves nothing: after a
# reboot or a crash it may belong to anybody. Only a process that agrees in all three is
# believed and signalled. A master that was killed may leave children behind, which hold the port or
# the socket; they are known by the session, which still has the master's number, together with
# the working directory.
#
# The script that reads this sets `program` (its name, for messages) before, and `dir` after.
# shellcheck disable=SC2034 # some of these are for the scripts alone

: "${program:=dev}" "${dir:=}"
top=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
services=(postgres redis auth ingest api mail jobs nginx) # in the order of starting
boot_id=$(cat /proc/sys/kernel/random/boot_id)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/lib/postgresql/15/bin
umask 022

# What the caller happens to have in its environment must not reach the services or psql.
unset DATABASE_URL MIGRATION_URL REDIS_URL SECRET_KEY_FILE "${!PG@}" NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID \
    LISTEN_FDS LISTEN_PID CDPATH

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s: %s\n' "$program" "$*" >&2
}

die() {
    warn "$@"
    exit 1
}

# One call at a time on a directory. The lock goes with descriptor 9, which no service inherits.
lock_dir() {
    local lock=$dir/up.lock
    if [[ -e $lock && ! -O $lock ]]; then
        die "$dir belongs to $(stat -c %U -- "$lock"); run $program as that user"
    fi
    { exec 9>>"$lock"; } 2>/dev/null || die "$dir cannot be written"
    if ! flock -n 9; then
        say "waiting for another dev/up or dev/down on $dir"
        flock -w 600 9 || die "another dev/up or dev/down on $dir does not come to an end"
    fi
}

# proc_read PID - sets proc_state, proc_session, proc_start; fails when there is no such process.
# The name in the second field may hold anything, so fields count from the last parenthesis.
proc_read() {
    local stat fields
    IFS= read -r -d '' stat 2>/dev/null <"/proc/$1/stat" || [[ ${stat-} ]] || return 1
    read -ra fields <<<"${stat##*) }"
    proc_state=${fields[0]-} proc_session=${fields[3]-} proc_start=${fields[19]-}
} 2>/dev/null

# record SERVICE PID - note who it is.
record() {
    proc_read "$2" && printf '%s %s %s\n' "$2" "$proc_start" "$boot_id" >"$dir/run/$1.pid"
}

# read_record SERVICE - sets pid and start; fails when there is no record of this boot.
read_record() {
    local boot=
    pid='' start=''
    read -r pid start boot 2>/dev/null <"$dir/run/$1.pid" || return 1
    [[ $pid =~ ^[0-9]+$ && $start =~ ^[0-9]+$ && $boot == "$boot_id" ]]
} 2>/dev/null

# running SERVICE - sets pid.
running() {
    read_record "$1" && proc_read "$pid" && [[ $proc_state != [ZX] && $proc_start == "$start" ]]
}

# leftovers SERVICE - prints the processes that a master left when it died.
leftovers() {
    local entry other
    if [[ $1 == postgres ]]; then
        # Each child of PostgreSQL has its own session, and the data directory as working directory.
        find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$dir/pgdata" -printf '%h\n' 2>/dev/null |
            sed 's|.*/||'
        return 0
    fi
    read_record "$1" || return 0
    for entry in /proc/[0-9]*; do
        other=${entry#/proc/}
        if proc_read "$other" && [[ $proc_session == "$pid" && $proc_state != [ZX] ]] &&
            ((proc_start >= start)) && [[ $(readlink "$entry/cwd") == "$dir/run" ]]; then
            say "$other"
        fi
    done
}

# await SECONDS COMMAND... - until it succeeds.
await() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.1
    done
}

ended() {
    ! running "$1"
}

# The master and all that it left.
gone() {
    ended "$1" && [[ ! $(leftovers "$1") ]]
}

# clear_leftovers SERVICE - before it is started again; does nothing while the master runs.
clear_leftovers() {
    local orphan
    running "$1" && return 0
    for orphan in $(leftovers "$1"); do
        kill -TERM "$orphan" 2>/dev/null || true
    done
    await 5 gone "$1" && return 0
    for orphan in $(leftovers "$1"); do
        kill -KILL "$orphan" 2>/dev/null || true
    done
    await 5 gone "$1"
}

# The signal that asks for an orderly end, and how many seconds that may take: a pool has its drain
# time and a margin, PostgreSQL a checkpoint.
stop_signal() {
    case $1 in
    postgres) say INT ;;
    nginx) say QUIT ;;
    *) say TERM ;;
    esac
}

stop_patience() {
    local drain_s
    case $1 in
    postgres) say 60 ;;
    auth | ingest | api)
        drain_s=$(sed -n 's/^drain_s = \([0-9]\{1,5\}\)$/\1/p' "$dir/etc/tallygate.conf" 2>/dev/null)
        say $((${drain_s:-30} + 10))
        ;;
    *) say 10 ;;
    esac
}

# stop SERVICE... - all at once, back when the last is gone.
stop() {
    local service pid start since=$SECONDS left
    for service; do
        ! running "$service" || kill "-$(stop_signal "$service")" "$pid" 2>/dev/null || true
    done
    for service; do
        left=$((since + $(stop_patience "$service") - SECONDS))
        if ! await "$left" ended "$service"; then
            warn "$service does not stop; it is killed"
            kill -KILL "$pid" 2>/dev/null || true
            await 10 ended "$service" || true
        fi
        clear_leftovers "$service" || warn "processes of $service are left: $(leftovers "$service" | xargs)"
        rm -f "$dir/run/$service.pid"
    done
}

# stop_all SERVICE... - of these, those that run, from the door inwards: requests end before what
# they need goes away.
stop_all() {
    local wanted=" $* " layer service
    for layer in nginx 'auth ingest api mail jobs' redis postgres; do
        local now=()
        for service in $layer; do
            [[ $wanted == *" $service "* ]] && now+=("$service")
        done
        stop "${now[@]}"
    done
    return 0
}
