// Package mqttguard stands between a network and an embedded MQTT broker of the
// mochi library, which trusts its peers more than it should.
//
// It promises that a packet that makes the broker panic costs its sender the
// connection and nobody else anything; that connections which don't say CONNECT
// are bounded by address; that the broker is closed only when the last of its
// connections has ended; and, with Conn, that no packet is larger than a limit,
// before anything is allocated for it, and no write waits for ever; that, with Quiet,
// the log has no packet in it.
//
// The other way round an Upstream stands between a client of the paho library and a
// broker that isn't ours: nothing is allocated for a packet over the limit, packets of
// several goroutines don't mix, and no write waits for ever.
//
// It knows nothing of topics, of who a client is, or of shadows. It stands on
// nothing of ours, so that cloud and edge share it.
package mqttguard
