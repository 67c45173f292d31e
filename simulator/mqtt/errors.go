package mqtt

import (
	"errors"
	"fmt"
)

// What can go wrong with a connection besides the network's own errors.
var (
	// ErrMalformed: the server sent bytes that are no MQTT 5 packet for a client.
	ErrMalformed = errors.New("mqtt: malformed packet")
	// ErrTooLarge: a packet is larger than its receiver takes.
	ErrTooLarge = errors.New("mqtt: packet too large")
	// ErrSilent: the server answered no PINGREQ in time.
	ErrSilent = errors.New("mqtt: no answer to a ping")
	// ErrQuota: as many QoS 1 messages are unacknowledged as the server takes;
	// try again after the next PUBACK.
	ErrQuota = errors.New("mqtt: receive maximum of the server reached")
)

// RefusedError is the server's refusal of a CONNECT, or its DISCONNECT.
type RefusedError struct {
	Type   Type // CONNACK, SUBACK or DISCONNECT
	Reason byte // MQTT 5 reason code
}

func (e *RefusedError) Error() string {
	what := map[Type]string{CONNACK: "connection refused", SUBACK: "subscription refused", DISCONNECT: "disconnected by the server"}[e.Type]
	return fmt.Sprintf("mqtt: %s, reason %#02x%s", what, e.Reason, reasonText[e.Reason])
}

// reasonText names the reason codes that operators meet.
var reasonText = map[byte]string{
	0x80: " (unspecified error)",
	0x81: " (malformed packet)",
	0x82: " (protocol error)",
	0x85: " (client identifier not valid)",
	0x86: " (bad user name or password)",
	0x87: " (not authorized)",
	0x88: " (server unavailable)",
	0x89: " (server busy)",
	0x8b: " (server shutting down)",
	0x8d: " (keep alive timeout)",
	0x8e: " (session taken over)",
	0x93: " (receive maximum exceeded)",
	0x95: " (packet too large)",
	0x97: " (quota exceeded)",
}
