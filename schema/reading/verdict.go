package reading

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Verdict is what the cloud says of a batch. A batch that got none is sent again,
// with the same rows in this batch or another.
type Verdict struct {
	ID uint64 `json:"id"` // of the batch

	// Of one that is rejected. From 500 on and with 429 another attempt may do;
	// otherwise the batch will never be taken.
	Code    int    `json:"code,omitempty"`    // as of HTTP
	Message string `json:"message,omitempty"` // at most 500 bytes are kept
}

// Final tells of a rejected batch that it will never be taken.
func (v Verdict) Final() bool { return v.Code < 500 && v.Code != 429 }

// maxVerdict bounds a verdict, in bytes.
const maxVerdict = 4096

// Append appends the verdict as JSON.
func (v Verdict) Append(dst []byte) []byte {
	v.Message = cut(v.Message, maxMessage)
	text, _ := json.Marshal(v) // numbers and a string
	return append(dst, text...)
}

// ParseVerdict reads a verdict. The error is ErrInvalid.
func ParseVerdict(body []byte) (Verdict, error) {
	var v Verdict
	err := parse(body, maxVerdict, &v)
	v.Message = cut(v.Message, maxMessage)
	return v, err
}

const maxMessage = 500

func cut(s string, most int) string {
	return string(bytes.ToValidUTF8([]byte(s[:min(len(s), most)]), nil))
}

// parse reads a message. Members that are not known are left alone: a newer
// version may have them.
func parse(body []byte, most int, into any) error {
	if len(body) > most {
		return fmt.Errorf("%w: %d bytes, must be %d at most", ErrMessage, len(body), most)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}
