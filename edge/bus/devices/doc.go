// Package devices keeps the shadows of the devices behind a node: it serves them
// to whoever is on the node, by the contract of the cloud, and brings them and
// the cloud's of one mind whenever there is a connection.
//
// It promises that
//
//   - what is acknowledged is on disk, and stays until the cloud has taken it,
//     has refused it for what is in it, or has overruled it;
//   - a reader on the node never sees a shadow's version go back, nor one version
//     with two contents. Versions are the node's own: they are at least as high as
//     the cloud's and count what happens on the node while there is no cloud;
//   - desired is the cloud's to decide. What the node's own applications write to
//     it holds on the node at once and is sent as an update of the very version it
//     was made on; where the cloud has written the same member meanwhile, the
//     cloud's value stands, for that member;
//   - reported is the device's: the cloud takes it as it is on the node;
//   - a shadow that the cloud deletes is gone, but for what it doesn't know yet; one
//     deleted on the node comes back if the cloud has since desired something of it;
//   - no single message has to arrive: what was lost is found by the next sync.
//
// Only the things that node.devices of the node's own shadow names are served and
// spoken for. It opens no connection, and never speaks for the node itself.
//
// # Limits
//
// MaxShadows shadows are held, each as large as shadow.DefaultLimits has it; an
// update that would make one more is rejected with 429, and what else the cloud has
// isn't asked for.
package devices
