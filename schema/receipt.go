package schema

import (
	"strings"

	"gnomon/shadow"
)

// ReceiptStatus is what became of one desired value.
type ReceiptStatus string

// The statuses.
const (
	ReceiptPending  ReceiptStatus = "pending"  // asked for, and nothing is known against it
	ReceiptApplied  ReceiptStatus = "applied"  // the device reports this very value
	ReceiptFailed   ReceiptStatus = "failed"   // tried, in vain so far or for good: see Retryable
	ReceiptRejected ReceiptStatus = "rejected" // the edge will not try it
)

// Receipt is the proof of what became of one desired value. For plain devices
// it is derived from what they report. Gnomon's agents mirror a value only once
// it is applied and name the version they last acted on, so theirs is exact.
type Receipt struct {
	Path      string        `json:"path"` // keys joined by dots, as in shadow.Paths
	Value     *shadow.Value `json:"value"`
	Status    ReceiptStatus `json:"status"`
	Asked     int64         `json:"asked,omitempty"`   // second since 1970 at which it was desired last; 0 for {}, which has no stamp
	Applied   int64         `json:"applied,omitempty"` // second at which the cloud heard that it is applied
	Version   uint64        `json:"version,omitempty"` // the desired version the edge has acted on; 0 for plain devices
	Attempts  int           `json:"attempts,omitempty"`
	Code      string        `json:"code,omitempty"`
	Message   string        `json:"message,omitempty"`
	Retryable bool          `json:"retryable,omitempty"`
}

// Codes of faults that the edge finds before it tries anything.
var refusals = map[string]bool{
	"invalid": true, "unsupported": true, "conflict": true, "target-invalid": true,
	"dependency-cycle": true, "component-reference": true,
}

// ReceiptsOf returns one receipt for every leaf that is desired, by path.
// A document without desired state has none.
func ReceiptsOf(shadowName string, d *shadow.Document) []Receipt {
	if !d.Exists() {
		return nil
	}
	kind, _ := KindOf(shadowName)
	status := StatusOf(shadowName, d)
	r := receipts{observed: status.ObservedVersion, current: status.ObservedVersion >= d.DesiredVersion, fault: status.Fault}
	if kind == KindApplication || kind == KindPolicy {
		if n := number(d.Reported.Get("attempts")); n < 1<<31 {
			r.attempts = int(n)
		}
	}
	r.add("", d.Desired, d.Reported)
	return r.all
}

type receipts struct {
	observed uint64
	current  bool // the edge has acted on what is desired now
	attempts int
	fault    *Fault
	all      []Receipt
}

func (r *receipts) add(path string, desired, reported *shadow.Value) {
	if desired.Kind() == shadow.Object && (desired.Len() > 0 || path == "") {
		for key, v := range desired.Members() {
			inner := pathEscaper.Replace(key)
			if path != "" {
				inner = path + "." + inner
			}
			r.add(inner, v, reported.Get(key))
		}
		return
	}
	if desired == nil {
		return
	}
	one := Receipt{Path: path, Value: desired, Status: ReceiptPending, Asked: desired.Stamp(), Version: r.observed}
	switch {
	case applied(desired, reported):
		one.Status, one.Applied = ReceiptApplied, reported.Stamp()
	case r.fault != nil && r.current:
		one.Status = ReceiptFailed
		if refusals[r.fault.Code] && !r.fault.Retryable {
			one.Status = ReceiptRejected
		}
		one.Code, one.Message, one.Retryable, one.Attempts = r.fault.Code, r.fault.Message, r.fault.Retryable, r.attempts
	}
	r.all = append(r.all, one)
}

// applied compares as the delta does.
func applied(desired, reported *shadow.Value) bool {
	return reported != nil && shadow.Diff(desired, reported) == nil
}

var pathEscaper = strings.NewReplacer(`\`, `\\`, `.`, `\.`)
