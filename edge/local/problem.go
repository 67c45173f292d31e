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

// problemOf maps errors to refusals: the one place where that is done.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	p = &Problem{Status: http.StatusInternalServerError, Code: "failed", Detail: err.Error(), Next: "look at the agent's log"}
	var invalid *schema.Error
	switch {
	case errors.As(err, &invalid):
		p.Status, p.Code, p.Next, p.Problems = http.StatusBadRequest, "invalid", "nothing was changed", invalid.Problems
	case errors.Is(err, override.ErrUnknown), errors.Is(err, loop.ErrUnknown):
		p.Status, p.Code, p.Next = http.StatusNotFound, "unknown", "gnomon-edge list names those there are"
	case errors.Is(err, override.ErrNone):
		p.Status, p.Code, p.Next = http.StatusNotFound, "no-override", "gnomon-edge override list names those in force"
	case errors.Is(err, override.ErrExists):
		p.Status, p.Code, p.Next = http.StatusConflict, "exists", "change it with gnomon-edge update, or choose another name"
	case errors.Is(err, override.ErrRemoved):
		p.Status, p.Code, p.Next = http.StatusConflict, "uninstalled", "gnomon-edge override clear NAME brings it back"
	case errors.Is(err, override.ErrMade):
		p.Status, p.Code, p.Next = http.StatusConflict, "unchanged", "give --for to renew the lease"
	case errors.Is(err, loop.ErrStopped):
		p.Status, p.Code, p.Next = http.StatusConflict, "stopped", "gnomon-edge start NAME starts it"
	case errors.Is(err, ErrQuery):
		p.Status, p.Code, p.Next = http.StatusBadRequest, "invalid", ""
	case errors.Is(err, override.ErrLease), errors.Is(err, override.ErrLimit):
		p.Status, p.Code, p.Next = http.StatusBadRequest, "limit", ""
	case errors.Is(err, override.ErrDisabled):
		p.Status, p.Code, p.Next = http.StatusForbidden, "disabled", "change it in the cloud"
	default:
		p.ofWriting(err)
	}
	return p
}

// ofWriting maps what becomes of a write to a meter.
func (p *Problem) ofWriting(err error) {
	switch {
	case errors.Is(err, collect.ErrUnknown):
		p.Status, p.Code, p.Next = http.StatusNotFound, "unknown", "gnomon-edge status names the policies"
	case errors.Is(err, collect.ErrNotWritable):
		p.Status, p.Code, p.Next = http.StatusForbidden, "not-writable", "writes of the policy say what may be"
	case errors.Is(err, collect.ErrOutOfRange):
		p.Status, p.Code, p.Next = http.StatusBadRequest, "out-of-range", "nothing was written"
	case errors.Is(err, collect.ErrTooOften):
		p.Status, p.Code, p.Next = http.StatusTooManyRequests, "too-often", "nothing was written"
	case errors.Is(err, collect.ErrNotTaken):
		p.Status, p.Code, p.Next = http.StatusBadGateway, "not-taken", "look at the meter"
	case collect.Reason(err) != collect.NoReason:
		p.Status, p.Code, p.Next = http.StatusBadGateway, collect.Reason(err), "look at the meter and its line"
	}
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
