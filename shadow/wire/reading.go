package wire

import "strings"

// What nodes and the cloud say of readings goes over topics of the thing's own,
// things/T/readings and below:
//
//	things/T/readings           a batch, from the node
//	things/T/readings/accepted  its ID: the cloud has it on disk
//	things/T/readings/rejected  its ID and why it will never be taken
//	things/T/read               a request to read a meter now, from the cloud
//	things/T/read/answer        its answer, from the node
const (
	leafReadings         = "readings"
	leafReadingsAccepted = "readings/accepted"
	leafReadingsRejected = "readings/rejected"
	leafRead             = "read"
	leafReadAnswer       = "read/answer"
)

// Readings are the topics of a node's readings.
type Readings struct{ Thing string }

// Batch is the topic of batches, from the node to the cloud.
func (r Readings) Batch() string { return r.path(leafReadings) }

// Accepted is the topic on which the cloud says that it has a batch.
func (r Readings) Accepted() string { return r.path(leafReadingsAccepted) }

// Rejected is the topic on which the cloud says that it will never take a batch.
func (r Readings) Rejected() string { return r.path(leafReadingsRejected) }

// Read is the topic of requests to read a meter now, from the cloud to the node.
func (r Readings) Read() string { return r.path(leafRead) }

// Answer is the topic of what came of such a request, from the node to the cloud.
func (r Readings) Answer() string { return r.path(leafReadAnswer) }

func (r Readings) path(leaf string) string { return thingsLevel + r.Thing + "/" + leaf }

// ParseReadings reads the topic of a batch or of an answer, which nodes publish:
// batch tells which. Anything else is not ok.
func ParseReadings(topic string) (r Readings, batch, ok bool) {
	rest, ok := strings.CutPrefix(topic, thingsLevel)
	if !ok {
		return r, false, false
	}
	thing, leaf, _ := strings.Cut(rest, "/")
	if !ValidThing(thing) || leaf != leafReadings && leaf != leafReadAnswer {
		return r, false, false
	}
	return Readings{thing}, leaf == leafReadings, true
}
