// Package cgroup gives a workload a cgroup of its own: limits, everything in it
// killed, its use counted. It knows cgroup v1, v2 and the hybrid of both, and
// names a cgroup by one path that is the same in every hierarchy.
//
// Paths are absolute, never relative to the caller's own cgroup, so a workload
// lands in the same place whoever starts it. The package never touches a cgroup
// above the path it was given, except to create it and, on v2, to hand
// controllers down.
//
// What is particular to v1 and to v2 is in a file each. The v2 part works on
// directories, and its tests on ones that only look like a hierarchy.
package cgroup
