// Package network gives a container a network of its own: an address from a pool
// of this node, a cable to the node's bridge, a way out, and the node's ports that
// lead to it.
//
// Everything a container has here carries the name of its instance, so that
// Release finds it without having been there when it was made:
//
//	STATE/NN.json            the lease of the nth address, and whose it is
//	gn-INSTANCE              the node's end of the cable
//	table inet gnomon-INSTANCE   the rules that lead ports to it
//
// The bridge, the table inet gnomon-BRIDGE with the way out, and STATE are shared
// by all agents of a node that name the same bridge. They come with the first
// container and go with the last. STATE lies below /run: leases end with a boot.
//
// Published ports are rules in the kernel where that has nftables, and sockets of
// a Forwarder where not; either way the port is bound for as long as the container
// lives, so that nobody else gets it and a port that is taken is noticed first.
//
// The package promises that what it makes is bounded by the size of the pool and
// that Release can be repeated, also for what was never made. It never touches
// firewall rules, addresses or routes that it has not made, with two exceptions
// that containers cannot do without: it lets the node forward packets.
package network
