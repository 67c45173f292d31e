// Package executor is the Runner of this node: it lays instances out on disk,
// starts a gnomon-shim for each and talks to it through the files of package
// instance. It is pure Go and keeps nothing in memory that is not on disk, so a
// second Executor on the same directory, after the first is gone, knows all.
//
//	DATA/run/NAME/INSTANCE/   one instance; see package instance
//	DATA/apps/NAME/data/      survives updates of the component
//	DATA/apps/NAME/volumes/   lasting volumes of containers
//	DATA/volumes/NAME/        those that are kept when the name is removed
//	DATA/apps/NAME/layers/    writable layers of containers, one per component
//	DATA/apps/NAME/files/     files of host processes
//	DATA/apps/NAME/versions/  of host processes, with the links current and good
//	DATA/apps/NAME/uid        of a host process that has a user of its own
//	DATA/subids/NAME          users of the node that are those of its container
//	DATA/logs/NAME.log        output, rotated; kept when the name is removed
//
// Of a name there may be two instances, the second started beside the first to take
// over from it: its Request names the first. Its cgroup has the instance in its name,
// as has its writable layer if the component is the same; its files are in its own
// directory, also on the host. They share the log and the data.
//
// One agent at a time may use a data directory and a cgroup.
package executor
