// Package faults is the fault matrix of the edge: the real cloud, the real agent
// and real workloads on one node, to which everything happens that this project
// knows to happen to nodes, one fault after the other.
//
// It promises that a fault counts as survived only if
//
//   - what was desired was reached, or the node named by its code what was in the
//     way, and reached it once that was gone;
//   - nothing else was touched: an application in each mode that nobody changes
//     has the same process all the time;
//   - nothing is left over: no process, mount, cgroup, network device or file.
//
// It runs in network and mount namespaces of its own (package edgeproc), needs root,
// ends what it started, and never touches a node that it has not made.
package faults
