// Package broker is the embedded MQTT broker: mochi behind a guard.
//
// It promises that a malformed, oversized, slow or silent peer costs itself its
// connection and its neighbours nothing; that a shadow request is acknowledged
// only after the shadow service has dealt with it; that nobody but the service
// publishes in the space of shadows; and that a session goes only to the
// principal it began with.
//
// Shadow requests in their commonest form are taken out of the stream before mochi
// sees them (stream.go, request.go), in their turn among the other packets; the
// others reach the service through mochi's hooks.
//
// It never looks into a shadow and keeps nothing across restarts: sessions and
// retained messages are in memory. What a client missed it learns from the
// shadow, which is where state belongs.
//
// # Limits
//
//   - A connection may have Config.InFlight shadow requests unanswered. One more
//     is rejected with 429 and acknowledged; the connection stays. Over MQTT 5
//     it is the receive maximum too, so that a client that keeps to it is never
//     throttled at quality of service 1.
//   - 64 messages may wait to be sent to a client; it misses those beyond.
//   - A session holds Config.Subscriptions filters; one more is refused in the
//     SUBACK.
//   - A session that began with clean=false, or with a session expiry, keeps up
//     to 64 messages of quality of service 1 while its client is away, in their
//     order, for Config.SessionExpiry at most. Messages beyond are lost.
//   - Retained messages are bounded by Config.Retained and Config.RetainedBytes.
//     One more is refused with "quota exceeded" over MQTT 5 at quality of
//     service 1, is delivered but not retained over MQTT otherwise, and is
//     answered with 429 over HTTP.
//
// # Deviations from what a general broker does
//
//   - A will in the space of shadows refuses the connection: publish an update
//     instead when the connection is there.
//   - Over MQTT 3.1.1, which has no reason codes, a forbidden publish ends the
//     connection, as the AWS service does it.
//   - A silent client is disconnected after one and a half to 1.7 times its
//     keep-alive.
//   - A message kept for a session is marked as a duplicate even when it is sent
//     for the first time.
package broker
