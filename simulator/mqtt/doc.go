// Package mqtt is a light MQTT 5 client for simulations: one connection costs
// one goroutine of its owner and about two KiB, so that thousands of them fit
// beside the server under test.
//
// It speaks the part of MQTT 5 that a shadow client needs: CONNECT, SUBSCRIBE,
// PUBLISH at QoS 0 and 1, PUBACK, PING and DISCONNECT. Conn.Next hands out one
// packet at a time on the caller's goroutine and keeps the connection alive
// meanwhile; any goroutine may write. What is received is bounded by
// Options.MaxPacket, what is outstanding by the server's receive maximum.
//
// It never starts a goroutine, never reconnects, never sends a message twice
// and keeps no session: a caller that lost a connection makes a new one and
// finds out what it missed by its own protocol.
package mqtt
