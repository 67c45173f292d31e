// Package instance is what the agent and a shim say to each other: files in the
// directory of one instance. It is the protocol, versioned, between two programs
// that are upgraded at different times, and it is all the state there is.
//
//	lock         held by the shim for as long as it lives
//	spec.json    Request, written by the agent before the shim starts
//	status.json  Record, written by the shim; by the agent only after the shim died
//	stop.json    Stop, written by the agent, who then sends StopSignal to the shim
//	             if that lives; names who took over from the instance, if any
//	reload.json  Request with other content of files, until it is spec.json
//	shim.log     what the shim itself had to say
//	container/   libcontainer's state, mode container
//	rootfs/      where the shim mounts the root file system, in its own mount namespace
//	ended        wait status of the program under a container's init of ours
//	network/     its hosts and resolv.conf; there as long as it may have addresses or ports
//	files/       content of Spec.Files, modes container and attach
//
// The directory itself is locked by whoever is on the way into what runs.
//
// Files are replaced whole and durably, so a reader never sees half of one and
// an exit code survives a power cut. What belongs to a start is made durable while
// the start goes on. The package starts nothing and waits for
// nothing.
package instance
