// Package edgeproc runs the real gnomon-edge as a child process, on a node of its
// own: a disk, a cgroup and a boot id, with which power can be cut. It has to run
// in network and mount namespaces of its own (see Enclose), and needs root.
//
// It promises that Remove leaves nothing of the node, and that no other node of
// the machine is ever touched.
package edgeproc
