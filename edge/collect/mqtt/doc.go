// Package mqtt collects what devices publish by themselves on an MQTT 5 broker: a
// device's, a site's, or the node's own bus. An item is a topic and a path in the
// JSON of its payload; what is read is the latest value, with the time it arrived.
//
// It promises that a value is never older than the policy lets it be: what a broker
// retains may be of any age, so it is no value unless the policy takes it, and then it
// doesn't make an old value young. Values of a broker that is out of reach aren't given,
// and a poll waits for a device only as long as it can still be about to speak.
// Payloads, topics and values are bounded, and so is what a broker can make the node
// hold, whatever it sends. A lost connection is made again, later and later.
//
// It publishes nothing.
package mqtt
