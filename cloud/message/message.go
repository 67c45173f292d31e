// Package message is what clients send each other through the broker, beside
// shadows: its shape, shared by the broker and the HTTP API, which publishes and
// reads back what is retained. It promises nothing of delivery, which is the
// broker's, and never holds a message.
package message

import "time"

// Message is one message to a topic. Properties beyond Retain reach subscribers
// that speak MQTT 5.
type Message struct {
	Topic         string
	Payload       []byte
	QoS           byte // 0 or 1
	Retain        bool // keep it for later subscribers; without a payload: keep no longer
	ContentType   string
	ResponseTopic string
	Correlation   []byte
	Expiry        uint32 // seconds; 0 = never
	UTF8          bool   // the payload is declared to be text
	User          []Pair
}

// Pair is a user property.
type Pair struct{ Key, Value string }

// Retained is a message that the broker keeps.
type Retained struct {
	Topic    string
	Payload  []byte // nil in lists
	Size     int    // of the payload
	QoS      byte
	Modified time.Time
	User     []Pair
}
