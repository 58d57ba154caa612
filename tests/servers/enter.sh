# What a root file system becomes before tests run in it: `sh -e enter.sh ROOT PROJECT EMPTY PLACE RESULTS
# COMMAND …`, in new namespaces of mounts, processes, interfaces and control groups. The command becomes process 1,
# in PLACE, where the project is; what it writes into /results is in RESULTS afterwards.
#
# A plain chroot does not do: servers start no containers in it, and udevadm does nothing. The root itself stays
# as it is: what is written goes to memory.
root=$1 project=$2 work=$3 place=$4 results=$5
shift 5
mount -t tmpfs -o mode=0755 work "$work"
mkdir "$work/upper" "$work/overlay" "$work/root"
mount -t overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/overlay" root "$work/root"
cd "$work/root"
mount --rbind /dev dev
# Nothing is written into the project. The bytecode of the root's Python is beside it, in memory.
mkdir "$work/above" "$work/beside"
mount -t overlay -o "lowerdir=$project,upperdir=$work/above,workdir=$work/beside" project ".$place"
mkdir results
mount --bind "$results" results
mount -t proc -o nosuid,nodev,noexec proc proc
# Of our network namespace, as is what follows of our control group's.
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o nosuid,nodev,mode=0755 run run
# With device nodes: LXD makes those of its containers there.
mount -t tmpfs -o mode=1777 tmp tmp
mkdir run/lock
pivot_root . mnt
umount --lazy /mnt
# The machine itself may have no such program.
ip link set lo up
cd "$place"
exec "$@"
