#!/bin/bash
# Shows that LXD and Incus hang when the source of a unix-char device goes while its container stops.
#
# Usage, as root: CLIENT=lxc unplug_during_stop.sh CONTAINER      (or CLIENT=incus)
# CONTAINER runs and may be lost. The server must be killed afterwards: no container can be stopped any more.
# Exit status: 0 when the server hung, 1 when the stop ended.
set -euo pipefail
client=${CLIENT:-lxc}
container=${1:?expected the name of a running container}
source=/dev/unplug-during-stop

ln -sfn /dev/null "$source"
trap 'rm -f "$source"' EXIT
"$client" config device add "$container" unplug unix-char source="$source" path=/dev/unplug required=false
init=$("$client" query "/1.0/instances/$container/state" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')

# The server keeps a process for the container's files (forkfile) until it was unused for 10 s. With that
# process the removal below need not wait for the stop.
sleep 12

# Most init systems need a moment to stop. SIGSTOP makes that moment as long as the next step needs.
kill -STOP "$init"
"$client" stop "$container" --timeout 60 &
stop=$!
for _ in {1..50}; do
    "$client" query /1.0/operations | grep -q /1.0/operations/ && break
    sleep 0.1
done
rm "$source" # the unplug: the handler takes unixMutex and waits for the stop
sleep 2
kill -KILL "$init" # the container ends: the stop takes its devices down and waits for unixMutex

for _ in {1..20}; do
    if ! kill -0 "$stop" 2>/dev/null; then
        echo "the stop ended: this server does not have the fault"
        exit 1
    fi
    sleep 1
done
echo "20 s after the container's last process ended, the stop still waits: the server hangs"
kill "$stop" 2>/dev/null || true
