# shellcheck shell=sh
# What runs as the first process of a host's namespaces: its disk over the image, and its systemd until it is switched off.
# All of it is gone when this process is.
set -eu
image=$1 disk=$2 name=$3
shift 3

for group; do
  echo $$ > "$group/cgroup.procs"
done
mount -t tmpfs tmpfs /run
mount -t overlay overlay -o "lowerdir=$image,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"

# 133: it was rebooted
status=133
while [ "$status" -eq 133 ]; do
  status=0
  systemd-nspawn --quiet --register=no --keep-unit --settings=no --directory="$disk/root" --machine="$name" --boot \
    --console=pipe --resolv-conf=off --timezone=off --link-journal=no || status=$?
done
exit "$status"
