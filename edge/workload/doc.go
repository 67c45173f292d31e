// Package workload runs applications on this node: as containers, as processes
// attached to another application's container, and as processes of the host.
// One contract, Runner, serves the three modes; the planner above it decides
// what runs, when it is restarted and with which backoff.
//
// Every start makes an instance with a directory of its own and a gnomon-shim
// process, the parent of the workload. The shim outlives the agent and writes
// what became of the workload to disk, so that
//
//   - restarting, crashing or upgrading the agent disturbs no workload;
//   - an exit code is kept even if nobody was looking when the workload exited;
//   - after Stop and Remove nothing is left: no process, mount or cgroup, and
//     after Remove no file but the log.
//
// It never restarts a workload by itself, never fetches or unpacks anything,
// and never writes to Spec.Root, which many instances may share.
package workload
