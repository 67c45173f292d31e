// Package cgroup gives a workload a cgroup of its own: limits, everything in it
// killed, its use counted. It knows cgroup v1, v2 and the hybrid of both, and
// names a cgroup by one path that is the same in every hierarchy.
//
// Paths are absolute, never relative to the caller's own cgroup, so a workload
// lands in the same place whoever starts it. The package never touches a cgroup
// above the path it was given, except to create it and, on v2, to hand
// controllers down.
package cgroup
