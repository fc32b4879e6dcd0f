#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, for the tests beside this file. All of it lies below one folder.
#
#   apt-get install slurm-wlm munge            # Debian 12 has Slurm 22.05; nothing in /etc is used or changed
#   eval "$(tests/slurm/cluster.sh start FOLDER)"    # as root, FOLDER empty or new: exports SLURM_CONF
#   sbatch …; squeue; less FOLDER/log/slurmctld.log
#   tests/slurm/cluster.sh stop FOLDER         # cancels what still runs and leaves no process
#
# Two partitions: `main`, the default, and `urgent`, whose jobs preempt those of `main`: the preempted job is sent the
# signal that it asked for with `--signal`, and is requeued when it has ended or its grace is over. There is no
# accounting database, so `sacct` fails: who wants states asks `squeue --states=all` or `scontrol show job`.
set -euo pipefail

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

[[ $# == 2 && ($1 == start || $1 == stop) ]] || fail "usage: cluster.sh start|stop FOLDER"
# Debian keeps the daemons in sbin, which a user's PATH may lack.
PATH=$PATH:/usr/sbin:/sbin
action=$1
folder=$(realpath --canonicalize-missing "$2")
export SLURM_CONF=$folder/slurm.conf

# Nobody listens on 127.0.0.1 at the port that this prints; another cluster may be running on the usual ones.
free_port() {
    local port
    while port=$(shuf --input-range=20000-29999 --head-count=1); do
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

write_conf() {
    local memory
    memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
    cat >"$SLURM_CONF" <<CONF
ClusterName=unetbench
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)

# Listen on the loopback alone.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny

# A munged of our own. A requeued job waits for its old credential to expire, 120 s if nothing is said.
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5

StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
SlurmctldDebug=verbose
SlurmdDebug=verbose

# What needs neither cgroups nor a database.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
ReturnToService=2

# Jobs share cores; memory that they ask for is not counted. Tests should not wait for schedulers either.
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5,bf_interval=5
KillWait=5
CompleteWait=0
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal

# Two CPUs whatever this machine has, or a test's jobs would run together on one machine and not on another.
SlurmdParameters=config_overrides
NodeName=node0 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 CPUs=2 RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=node0 Default=YES MaxTime=60 DefaultTime=5 PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=node0 MaxTime=60 DefaultTime=5 PriorityTier=2 PreemptMode=OFF
CONF
}

start() {
    local program
    for program in munged slurmctld slurmd sinfo; do
        command -v "$program" >/dev/null || fail "no $program: apt-get install slurm-wlm munge"
    done
    mkdir -p "$folder"
    [[ -z $(ls -A "$folder") ]] || fail "$folder is not empty: an earlier cluster's jobs would come back"
    # munged makes no socket where others may write, and none that others cannot reach.
    mkdir "$folder"/{log,spool,state}
    mkdir -m 711 "$folder/munge"
    (umask 077 && head -c 128 /dev/urandom >"$folder/munge/key")
    write_conf
    trap 'stop; tail -n 20 "$folder"/log/* >&2' EXIT
    # --force: pytest's temporary folders are closed to others, which munged would refuse.
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed" >&2
    # Daemons that keep the caller's pipe open would have it wait for ever.
    slurmctld </dev/null >"$folder/log/slurmctld.out" 2>&1
    slurmd </dev/null >"$folder/log/slurmd.out" 2>&1
    local _
    for _ in {1..150}; do
        if [[ $(timeout 5 sinfo --noheader --partition=main --format=%T 2>/dev/null) == idle ]]; then
            trap - EXIT
            printf 'export SLURM_CONF=%q\n' "$SLURM_CONF"
            return
        fi
        sleep 0.2
    done
    fail "the node did not become idle; the logs end so:"
}

# The cluster's processes of a name. A step is no child of slurmd and outlives it, so what tells it is the open log.
members() {
    local comm
    for comm in $(grep -lsxE "$1" /proc/[0-9]*/comm || true); do
        if [[ -n $(find "${comm%/comm}/fd" -lname "$folder/log/*" -print -quit 2>/dev/null || true) ]]; then
            cut -d/ -f3 <<<"$comm"
        fi
    done
}

# What the given processes have started.
descendants() {
    local pid child
    for pid; do
        for child in $(cat "/proc/$pid/task"/*/children 2>/dev/null || true); do
            echo "$child"
            descendants "$child"
        done
    done
}

stop() {
    [[ -e $SLURM_CONF ]] || return 0
    local deadline=$((SECONDS + 20)) ours='munged|slurm.*' steps
    # Jobs first, while there is somebody to end them. KILL, as a job may take any other signal for preemption.
    if timeout 5 scontrol ping 2>/dev/null | grep -q "is UP"; then
        timeout 5 scancel --user="$(id -un)" --state=PENDING || true
        timeout 5 scancel --user="$(id -un)" --signal=KILL --full || true
        timeout 5 scancel --user="$(id -un)" || true
        while ((SECONDS < deadline)) && [[ -n $(timeout 5 squeue --noheader) ]]; do sleep 0.2; done
    fi
    # Without a controller jobs are still there.
    mapfile -t steps < <(members slurmstepd)
    descendants "${steps[@]}" | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
    # Not slurmscriptd, which slurmctld ends itself: it would wait ten seconds for it.
    members 'munged|slurmctld|slurmd|slurmstepd' | xargs --no-run-if-empty kill -TERM 2>/dev/null || true
    deadline=$((SECONDS + 15))
    while ((SECONDS < deadline)) && [[ -n $(members "$ours") ]]; do sleep 0.2; done
    members "$ours" | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
    rm -f "$SLURM_CONF"
}

"$action"
