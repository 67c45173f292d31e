// Command gnomon-shim is the parent of exactly one workload. It sets the
// workload up, keeps its log, ends it when asked, and writes how it ended to the
// instance directory. It is the only program that links libcontainer and cgo.
//
// It outlives the agent: it has a session and a cgroup of its own, holds no
// connection, and needs nothing from the agent once it runs. Under systemd the
// agent's unit must say KillMode=process, or stopping the agent stops what runs.
//
// Once the workload runs the shim replaces itself, keeping its process number
// and its child, by a fresh image of the same program, which waits before even
// the Go runtime has started; see package idle.
//
// It is linked statically, since a container's first process runs it, too, just
// before its program; see package stage.
//
// It never restarts a workload and never decides anything.
//
//	gnomon-shim run DIR    lock on fd 3, readiness on fd 4; see package instance
//	gnomon-shim hold DIR   what run turns into; lock on fd 3, log pipe on fd 5
//	gnomon-shim reload DIR changed files into what runs; another process than those two
//	gnomon-shim release DIR takes back the network of an instance whose shim was killed
//	gnomon-shim sweep BRIDGE takes back the network that the dead have left on a bridge
//	gnomon-shim exec DIR tty|pipe|apart PROGRAM ARG...
//	                       beside what runs, for gnomon-edge exec and for probes; apart: a pipe on fd 3
//	gnomon-shim version    the protocol it speaks
package main
