package external

import (
	"fmt"
	"strconv"

	"github.com/eclipse/paho.golang/paho"
)

// reasons are the reason codes of MQTT 5 that a broker gives us for something
// that an operator can change.
var reasons = map[byte]string{
	0x85: "client id not valid",
	0x86: "bad user name or password",
	0x87: "not authorized",
	0x88: "server unavailable",
	0x89: "server busy",
	0x8a: "banned",
	0x8b: "server shutting down",
	0x8c: "bad authentication method",
	0x8d: "keep alive timeout",
	0x8e: "another client connected with this client id: give each replica its own",
	0x8f: "topic filter invalid",
	0x95: "packet too large",
	0x97: "quota exceeded",
	0x98: "administrative action",
	0x9e: "shared subscriptions not supported",
}

const (
	noSubscribers  = 0x10
	notAuthorized  = 0x87
	takenOver      = 0x8e
	quotaExceeded  = 0x97
	notSharedHere  = 0x9e
	firstOfRefusal = 0x80
)

func reasonText(code byte, more string) string {
	text := "code 0x" + strconv.FormatUint(uint64(code), 16)
	if name := reasons[code]; name != "" {
		text = name + " (" + text + ")"
	}
	if more != "" {
		text += ": " + more
	}
	return text
}

// disconnectError: the broker ended the connection and said why.
type disconnectError struct {
	code byte
	more string
}

func (e *disconnectError) Error() string {
	return "it ended the connection: " + reasonText(e.code, e.more)
}

func disconnected(d *paho.Disconnect) error {
	e := &disconnectError{code: d.ReasonCode}
	if d.Properties != nil {
		e.more = d.Properties.ReasonString
	}
	return e
}

var errNotShared = fmt.Errorf("%w: it doesn't allow shared subscriptions, which replicas need", ErrUnsuitable)
