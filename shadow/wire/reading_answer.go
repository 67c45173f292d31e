package wire

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ReadingsAnswer is what the cloud says of a batch of readings, as JSON: on
// Readings.Accepted the ID alone, on Readings.Rejected also why.
type ReadingsAnswer struct {
	ID      uint64 `json:"id"`                // the batch's; 0 when it could not even be read
	Code    string `json:"code,omitempty"`    // of ReadingsInvalid, …: stable, for programs
	Message string `json:"message,omitempty"` // for people: what is wrong where
}

// Codes of a batch that is rejected.
const (
	ReadingsInvalid  = "invalid"   // not a batch, or not a right one
	ReadingsTooLarge = "too-large" // more than the limits of a batch
	ReadingsFuture   = "future"    // of a time that has not come yet: the node's clock is wrong
)

// errReadingsAnswer: not an answer.
var errReadingsAnswer = errors.New("not an answer to a batch of readings")

// Append appends the answer as JSON.
func (a ReadingsAnswer) Append(dst []byte) []byte {
	text, err := json.Marshal(a)
	if err != nil {
		return dst // can't be: numbers and texts have JSON
	}
	return append(dst, text...)
}

// maxReadingsAnswer bounds an answer, in bytes.
const maxReadingsAnswer = 4 << 10

// ParseReadingsAnswer reads an answer.
func ParseReadingsAnswer(b []byte) (a ReadingsAnswer, err error) {
	if len(b) > maxReadingsAnswer {
		return a, fmt.Errorf("%w: %d bytes, the limit is %d", errReadingsAnswer, len(b), maxReadingsAnswer)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("%w: %w", errReadingsAnswer, err)
	}
	return a, nil
}
