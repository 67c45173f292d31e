// Package bus is MQTT on the node itself, for its devices and applications: mochi
// behind a guard.
//
// It promises that shadow requests of the devices that the node speaks for are
// served by the contract of the cloud, with or without a connection to it, and
// acknowledged once they are on disk; that nobody but the service publishes in the
// space of shadows; that a malformed, oversized, slow or eager client costs itself
// and not its neighbours; and that it listens only where the node itself and its
// containers are: on loopback, and on the bridge of the containers.
//
// It knows nothing of the cloud, keeps nothing across restarts but what the
// shadows are, and hands no message on beyond the node.
//
// # Limits
//
//   - 256 clients; 64 filters each; 32 messages waiting for one.
//   - A packet has 160 KiB at most, a CONNECT 16 KiB, and is there within five seconds.
//   - A client that publishes more than 200 messages a second is read more slowly.
//   - 256 retained messages of up to 4 KiB; one beyond is delivered and not retained.
//   - A will in the space of shadows refuses the connection.
//   - A session outlives its connection by ten minutes at most.
package bus
