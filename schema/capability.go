package schema

// AllCapabilities stands for every capability there is.
const AllCapabilities = "ALL"

// UsualCapabilities are those of the root of a container that says nothing of
// capabilities: what images have come to expect.
var UsualCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// KnownCapabilities are all that Linux has.
var KnownCapabilities = []string{
	"AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE",
	"DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN",
	"MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID",
	"SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT",
	"SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
}

// Of returns the capabilities that a container has, in the order of
// KnownCapabilities. The nil pointer changes nothing.
func (k *Capabilities) Of(usual []string) []string {
	has := map[string]bool{}
	change := func(names []string, to bool) {
		for _, n := range names {
			if n != AllCapabilities {
				has[n] = to
				continue
			}
			for _, all := range KnownCapabilities {
				has[all] = to
			}
		}
	}
	change(usual, true)
	if k != nil {
		change(k.Drop, false)
		change(k.Add, true)
	}
	var set []string
	for _, n := range KnownCapabilities {
		if has[n] {
			set = append(set, n)
		}
	}
	return set
}
