# Becomes systemd, the first process of namespaces of its own, with what the unit
# needs installed. $1 is the project, $2 the program, $3 a firmware.
# All that it can write to is private.
set -e
[ $$ = 1 ] || { echo "not the first process of a PID namespace" >&2; exit 1; }
cd "$1"
exec 3<"$2" 4<"$3" # they may be where something is about to be mounted
mount -o remount,bind,ro /
for dir in /tmp /var/tmp /run /var/lib /var/log /usr/local /etc/systemd/system; do
	mount -t tmpfs tmpfs "$dir"
done
# Without this the groups would be seen from the outside.
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup

mkdir /run/users
cp /etc/passwd /etc/group /run/users
echo 'govmd:x:990:990::/:/usr/sbin/nologin' >>/run/users/passwd
echo 'govmd:x:990:' >>/run/users/group
grep -q '^kvm:' /run/users/group || echo 'kvm:x:991:' >>/run/users/group
mount --bind /run/users/passwd /etc/passwd
mount --bind /run/users/group /etc/group
chown root:kvm /dev/kvm
chmod 660 /dev/kvm

cat <&3 >/run/program
chmod 755 /run/program
GOVMD=/run/program PREFIX=/usr/local SYSCONFDIR=/usr/local/etc scripts/install
mkdir -p /var/lib/govmd /run/units
cat <&4 >/var/lib/govmd/rom
chmod 644 /var/lib/govmd/rom
cat >/usr/local/etc/govmd/web.conf <<-'END'
	[machine]
	  type = "pc"
	  accel = "kvm"
	  firmware = "/var/lib/govmd/rom"
	[memory]
	  size = "16M"
END
cp /usr/local/lib/systemd/system/govmd@.service /run/units
mkdir /run/units/govmd@.service.d
printf '[Service]\nWatchdogSec=5\n' >/run/units/govmd@.service.d/test.conf
# Nothing else is to be started.
for target in idle sysinit basic; do
	printf '[Unit]\nDefaultDependencies=no\n' >/run/units/$target.target
done
ln -s /dev/null /run/units/systemd-tmpfiles-setup.service
export SYSTEMD_UNIT_PATH=/run/units:/lib/systemd/system container=govmd-test
exec /lib/systemd/systemd --system --unit=idle.target --log-target=console --show-status=no
