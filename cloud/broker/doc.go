// Package broker is the embedded MQTT broker: mochi behind a guard.
//
// It promises that a malformed, oversized, slow or silent peer costs itself its
// connection and its neighbours nothing; that a shadow request is acknowledged
// only after the shadow service has dealt with it; that nobody but the service
// publishes in the space of shadows; and that a session goes only to the
// principal it began with.
//
// It never looks into a shadow and keeps nothing across restarts: sessions are
// in memory, and what a client missed it learns from the shadow.
//
// Two deviations from what a general broker does: a will in the space of
// shadows refuses the connection (publish an update instead when the
// connection is there), and over MQTT 3.1.1, which has no reason codes, a
// forbidden publish ends the connection, as the AWS service does it.
package broker
