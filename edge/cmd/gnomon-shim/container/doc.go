// Package container runs a workload in a container of its own, or in that of
// another, with libcontainer. It is the one place that knows libcontainer, whose
// interface carries no promise of compatibility.
//
// A container has its own process, mount, UTS, IPC and cgroup namespaces and the
// node's network, or one of its own on the node's bridge. Its root is the
// component under a writable layer, mounted in the shim's mount namespace, so no
// mount can be left behind on the node. Unless privileged it has the usual
// capabilities, devices and masked paths, a filter of system calls, and can gain
// no privileges.
package container

import (
	"os"
	"runtime/debug"

	_ "github.com/opencontainers/cgroups/devices" // lets cgroups enforce device rules
	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // enters namespaces before the Go runtime starts
)

// initHeap bounds the heap of that process, which counts as the container's.
const initHeap = 8 << 20

// A container's first process begins as this program, started as "init".
func init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		// It has a few megabytes of garbage by the time the program takes over.
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(initHeap)
		libcontainer.Init()
	}
}
