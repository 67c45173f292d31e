package container

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"gnomon/edge/cmd/gnomon-shim/launch"
	"gnomon/edge/workload"
)

// dataMount is where a container sees the directory that survives updates.
const dataMount = "/var/lib/gnomon"

// config describes the container of a job.
func config(j launch.Job, u launch.User, files []launch.Placed) (*configs.Config, error) {
	s := j.Request.Spec
	nodes, rules, err := deviceNodes(s, u)
	if err != nil {
		return nil, err
	}
	mounts, err := ownMounts(j, u, files)
	if err != nil {
		return nil, err
	}
	system, root := systemMounts(s.Privileged), j.Dir.Rootfs()
	if j.Request.Range != nil {
		if root, err = reachable(root); err != nil {
			return nil, err
		}
		planted, err := plantDevices(j, nodes)
		if err := errors.Join(err, plantSystem(j, system)); err != nil {
			return nil, err
		}
		system, nodes = append(system, planted...), nil
	}
	held := capabilitiesOf(s)
	normal := 0
	c := &configs.Config{
		Rootfs:          root,
		RootPropagation: unix.MS_SLAVE | unix.MS_REC,
		Hostname:        hostname(s),
		Namespaces: configs.Namespaces{
			{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWUTS}, {Type: configs.NEWIPC},
		},
		Mounts:          append(system, mounts...),
		Readonlyfs:      s.ReadOnly,
		Devices:         nodes,
		Capabilities:    &configs.Capabilities{Bounding: held, Effective: held, Permitted: held},
		NoNewPrivileges: !s.Privileged,
		Rlimits:         []configs.Rlimit{fileLimit()},
		OomScoreAdj:     &normal,
		NoNewKeyring:    true,
		Cgroups: &cgroups.Cgroup{
			Path:      j.Request.Cgroup,
			Resources: resources(j),
		},
	}
	c.Cgroups.Devices = rules
	if m := mapping(j); m != nil {
		c.Namespaces.Add(configs.NEWUSER, "")
		c.UIDMappings, c.GIDMappings = m, m
	}
	if !s.Privileged {
		c.MaskPaths, c.ReadonlyPaths = maskedPaths, readonlyPaths
	}
	if _, err := os.Stat("/proc/self/ns/cgroup"); err == nil {
		c.Namespaces.Add(configs.NEWCGROUP, "")
	}
	return c, nil
}

func hostname(s workload.Spec) string {
	if s.Hostname != "" {
		return s.Hostname
	}
	return s.Name
}

func resources(j launch.Job) *cgroups.Resources {
	l := j.SetupLimits()
	r := &cgroups.Resources{Memory: l.Memory}
	if l.Memory > 0 && swapAccounted() {
		r.MemorySwap = l.Memory // both together: none of it is swap
	}
	if l.CPU > 0 {
		r.CpuPeriod = 100_000
		r.CpuQuota = l.CPU * 100
	}
	if l.Pids > 0 {
		r.PidsLimit = &l.Pids
	}
	return r
}

// swapAccounted tells whether the kernel can bound swap: v1 fails otherwise.
func swapAccounted() bool {
	if cgroups.IsCgroup2UnifiedMode() {
		return true
	}
	mnt, err := cgroups.FindCgroupMountpoint("", "memory")
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(mnt, "memory.memsw.limit_in_bytes"))
	return err == nil
}

// fileLimit is what programs expect, with room to raise it.
func fileLimit() configs.Rlimit {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		own.Max = 1024
	}
	return configs.Rlimit{Type: unix.RLIMIT_NOFILE, Soft: min(1024, own.Max), Hard: own.Max}
}

const noExec = unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_NODEV

// systemMounts are those every container has.
func systemMounts(privileged bool) []*configs.Mount {
	readonly := unix.MS_RDONLY
	if privileged {
		readonly = 0
	}
	return []*configs.Mount{
		{Device: "proc", Source: "proc", Destination: "/proc", Flags: noExec},
		{Device: "tmpfs", Source: "tmpfs", Destination: "/dev",
			Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
		{Device: "devpts", Source: "devpts", Destination: "/dev/pts",
			Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{Device: "tmpfs", Source: "shm", Destination: "/dev/shm", Flags: noExec, Data: "mode=1777,size=65536k"},
		{Device: "mqueue", Source: "mqueue", Destination: "/dev/mqueue", Flags: noExec},
		{Device: "sysfs", Source: "sysfs", Destination: "/sys", Flags: noExec | readonly},
		{Device: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup", Flags: noExec | unix.MS_RELATIME | readonly},
	}
}

// What of /proc and /sys tells about or changes the node.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)
