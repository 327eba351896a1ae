#!/usr/bin/env bash
# etcd's own etcdctl against the etcd whose address is the first argument.
#
# Each case is a function; a line `ok name` or `FAILED name: why` is printed for each, after one of the version.
set -uo pipefail

export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
contenders=4
rounds=2

# The counterpart of the next: the same updates without the lock must be noticed.
without_the_lock_updates_are_lost() {
    count bare bash -c
    [ "$(cat "$dir/bare")" -ne $((contenders * rounds)) ]
}

contenders_exclude_each_other() {
    count locked etcdctl lock lock/count -- bash -c
    is "$(cat "$dir/locked")" $((contenders * rounds))
}

# Has several contenders read a number, wait, and write it back greater by one: each update is run by the given command.
count() {
    local file=$dir/$1 running=()
    shift
    echo 0 >"$file"
    for _ in $(seq $contenders); do
        for _ in $(seq $rounds); do
            "$@" 'n=$(cat "$1"); sleep 0.05; echo $((n + 1)) >"$1"' - "$file"
        done &
        running+=($!)
    done
    wait "${running[@]}"
}

lock_runs_a_command_with_its_key() {
    is "$(etcdctl lock lock/command -- bash -c 'echo "${ETCD_LOCK_KEY%/*}"')" lock/command
    is "$(etcdctl get lock/command --prefix --keys-only)" ""
}

lock_ends_with_its_lease() {
    etcdctl lock lock/dead --ttl 2 >"$dir/holder" &
    until [ -s "$dir/holder" ]; do sleep 0.02; done
    end KILL $!
    is "$(timeout 10 etcdctl lock lock/dead -- echo free)" free
}

elect_passes_on() {
    etcdctl elect election first >"$dir/first" &
    local first=$!
    until [ -s "$dir/first" ]; do sleep 0.02; done
    etcdctl elect election second >"$dir/second" &
    local second=$!
    until [ "$(etcdctl get election/ --prefix --keys-only | grep -c .)" = 2 ]; do sleep 0.02; done
    end INT $first
    until [ -s "$dir/second" ]; do sleep 0.02; done
    is "$(timeout 5 etcdctl elect --listen election | sed -n 2p)" second
    end INT $second
}

put_get_del() {
    etcdctl put a/1 one >/dev/null && etcdctl put a/2 two >/dev/null
    is "$(etcdctl get a/1 --print-value-only)" one
    is "$(etcdctl get a/ --prefix --order=DESCEND --sort-by=KEY --keys-only | tr -d '\n')" a/2a/1
    is "$(etcdctl get a/1 a/2 --keys-only | tr -d '\n')" a/1
    is "$(etcdctl put a/1 uno --prev-kv | tail -1)" one
    is "$(etcdctl del a/ --prefix)" 2
    is "$(etcdctl get a/ --prefix)" ""
}

get_reads_the_past() {
    etcdctl put past old >/dev/null
    local revision
    revision=$(etcdctl get past -w fields | sed -n 's/^"ModRevision" : //p')
    etcdctl put past new >/dev/null
    is "$(etcdctl get past --rev "$revision" --print-value-only)" old
    etcdctl compact $((revision + 1)) >/dev/null
    says "required revision has been compacted" etcdctl get past --rev "$revision"
}

txn_takes_the_branch_that_holds() {
    local txn=$'create("once") = "0"\n\nput once taken\n\nget once\n\n'
    is "$(etcdctl txn <<<"$txn" | xargs)" "SUCCESS OK"
    is "$(etcdctl txn <<<"$txn" | xargs)" "FAILURE once taken"
}

watch_shows_puts_and_deletes() {
    etcdctl put seen 0 >/dev/null
    local revision
    revision=$(etcdctl get seen -w fields | sed -n 's/^"ModRevision" : //p')
    etcdctl watch seen --prev-kv --rev "$revision" >"$dir/seen" &
    etcdctl put seen 1 >/dev/null
    etcdctl del seen >/dev/null
    until [ "$(wc -l <"$dir/seen")" -ge 13 ]; do sleep 0.02; done
    end TERM $!
    is "$(grep -E 'PUT|DELETE|^[01]$' "$dir/seen" | tr '\n' ' ')" "PUT 0 PUT 0 1 DELETE 1 "
}

lease_grant_list_timetolive_revoke() {
    local lease
    lease=$(etcdctl lease grant 60 | cut -d' ' -f2)
    etcdctl put leased x --lease "$lease" >/dev/null
    etcdctl lease list | grep -q "$lease"
    etcdctl lease timetolive "$lease" --keys | grep -q 'granted with TTL(60s), remaining(.*attached keys(\[leased\])'
    is "$(etcdctl lease revoke "$lease")" "lease $lease revoked"
    is "$(etcdctl get leased)" ""
    is "$(etcdctl lease timetolive "$lease")" "lease $lease already expired"
}

lease_keep_alive_outlives_the_ttl() {
    local lease
    lease=$(etcdctl lease grant 2 | cut -d' ' -f2)
    etcdctl put kept x --lease "$lease" >/dev/null
    etcdctl lease keep-alive "$lease" >"$dir/renewals" &
    sleep 4
    is "$(etcdctl get kept --print-value-only)" x
    end TERM $!
    is "$(etcdctl lease keep-alive --once "$lease")" "lease $lease keepalived with TTL(2)"
    sleep 3
    is "$(etcdctl get kept)" ""
}

unknown_leases_are_refused() {
    says "requested lease not found" etcdctl put orphan x --lease 4d
    says "requested lease not found" etcdctl lease revoke 4d
}

endpoint_and_member() {
    etcdctl endpoint health 2>&1 | grep -q 'is healthy: successfully committed proposal'
    etcdctl endpoint status -w fields | grep -q '"Leader" : [1-9]'
    etcdctl member list | grep -q ', started, .*http://'
    is "$(etcdctl alarm list)" ""
}

# Ends a process in the background, whatever its status.
end() {
    kill "-$1" "$2"
    wait "$2" 2>/dev/null || true
}

# Fails, and says how, where two texts differ.
is() {
    [ "$1" = "$2" ] || { echo "'$1' instead of '$2'"; return 1; }
}

# That a command fails in these words.
says() {
    local words=$1 text
    shift
    if text=$("$@" 2>&1); then echo "'$*' did not fail"; return 1; fi
    grep -q "$words" <<<"$text" || { echo "'$*' said '$text'"; return 1; }
}

# Runs a case; its first command that fails ends it.
attempt() {
    local text
    export -f is says end count "$1"
    if text=$(timeout 30 bash -c "set -e; contenders=$contenders rounds=$rounds dir=$dir; $1" 2>&1); then
        echo "ok $1"
    else
        echo "FAILED $1: $(tr '\n' ' ' <<<"$text")"
        return 1
    fi
}

echo "version $(etcdctl version | sed -n 's/^etcdctl version: //p')"
failed=0
for name in without_the_lock_updates_are_lost contenders_exclude_each_other lock_runs_a_command_with_its_key \
    lock_ends_with_its_lease elect_passes_on put_get_del get_reads_the_past txn_takes_the_branch_that_holds \
    watch_shows_puts_and_deletes lease_grant_list_timetolive_revoke lease_keep_alive_outlives_the_ttl \
    unknown_leases_are_refused endpoint_and_member; do
    attempt $name || failed=1
done
exit $failed
