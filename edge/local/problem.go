package local

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"gnomon/edge/collect"
	"gnomon/edge/override"
	"gnomon/edge/reconcile/loop"
	"gnomon/schema"
)

// Problem is a refusal (RFC 9457).
type Problem struct {
	Title    string           `json:"title"`
	Status   int              `json:"status"`
	Code     string           `json:"code"` // for programs
	Detail   string           `json:"detail"`
	Next     string           `json:"next,omitempty"` // what to do about it
	Problems []schema.Problem `json:"problems,omitempty"`
}

func (p *Problem) Error() string {
	text := p.Detail
	if p.Next != "" {
		text += "; " + p.Next
	}
	return text
}

func bad(code, detail, next string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Code: code, Detail: detail, Next: next}
}

// refusals are what errors are to whoever asks: the one place that says so.
var refusals = []struct {
	err        error
	status     int
	code, next string
}{
	{override.ErrUnknown, http.StatusNotFound, "unknown", "gnomon-edge list names those there are"},
	{loop.ErrUnknown, http.StatusNotFound, "unknown", "gnomon-edge list names those there are"},
	{override.ErrNone, http.StatusNotFound, "no-override", "gnomon-edge override list names those in force"},
	{override.ErrExists, http.StatusConflict, "exists", "change it with gnomon-edge update, or choose another name"},
	{override.ErrRemoved, http.StatusConflict, "uninstalled", "gnomon-edge override clear NAME brings it back"},
	{override.ErrMade, http.StatusConflict, "unchanged", "give --for to renew the lease"},
	{override.ErrLease, http.StatusBadRequest, "limit", ""},
	{override.ErrLimit, http.StatusBadRequest, "limit", ""},
	{override.ErrDisabled, http.StatusForbidden, "disabled", "change it in the cloud"},
	{loop.ErrStopped, http.StatusConflict, "stopped", "gnomon-edge start NAME starts it"},
	{ErrQuery, http.StatusBadRequest, "invalid", ""},
	{collect.ErrUnknown, http.StatusNotFound, "unknown", "gnomon-edge status names the policies"},
	{collect.ErrNotWritable, http.StatusForbidden, "not-writable", "writes of the policy say what may be"},
	{collect.ErrOutOfRange, http.StatusBadRequest, "out-of-range", "nothing was written"},
	{collect.ErrTooOften, http.StatusTooManyRequests, "too-often", "nothing was written"},
	{collect.ErrNotTaken, http.StatusBadGateway, "not-taken", "look at the meter"},
}

// problemOf maps errors to refusals.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var invalid *schema.Error
	if errors.As(err, &invalid) {
		return &Problem{Status: http.StatusBadRequest, Code: "invalid", Detail: err.Error(), Next: "nothing was changed", Problems: invalid.Problems}
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return &Problem{Status: r.status, Code: r.code, Detail: err.Error(), Next: r.next}
		}
	}
	if reason := collect.Reason(err); reason != collect.NoReason {
		return &Problem{Status: http.StatusBadGateway, Code: reason, Detail: err.Error(), Next: "look at the meter and its line"}
	}
	return &Problem{Status: http.StatusInternalServerError, Code: "failed", Detail: err.Error(), Next: "look at the agent's log"}
}

func refuse(w http.ResponseWriter, err error) {
	p := *problemOf(err)
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the asker may have left
}

// problemFrom reads the refusal in an answer.
func problemFrom(status int, contentType string, body []byte) error {
	p := new(Problem)
	if strings.HasPrefix(contentType, "application/problem+json") && json.Unmarshal(body, p) == nil && p.Detail != "" {
		return p
	}
	return &Problem{Status: status, Code: "failed", Detail: "the agent answers " + http.StatusText(status)}
}
