package schema

import "gnomon/shadow"

// ReceiptStatus is what became of one desired value.
type ReceiptStatus string

// The statuses.
const (
	ReceiptPending  ReceiptStatus = "pending"  // asked for, and nothing is known against it
	ReceiptApplied  ReceiptStatus = "applied"  // the device reports this very value
	ReceiptFailed   ReceiptStatus = "failed"   // tried, in vain so far or for good: see Retryable
	ReceiptRejected ReceiptStatus = "rejected" // the edge will not try it

	// Only of earlier versions, see ReceiptsAt: a later one asks for something else.
	ReceiptSuperseded ReceiptStatus = "superseded"
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

	SupersededBy uint64 `json:"supersededBy,omitempty"` // the version that asks for something else
}

// Written is one value that an earlier version of desired wrote.
type Written struct {
	Path         string
	Value        *shadow.Value
	Asked        int64  // second since 1970; 0: not known
	SupersededBy uint64 // the first version since that asks for something else there; 0: none
}

// ReceiptsAt returns the receipts of what an earlier version wrote: superseded
// where that isn't what is asked for any more, else as ReceiptsOf the document of
// now has it.
func ReceiptsAt(shadowName string, now *shadow.Document, written []Written) []Receipt {
	current := make(map[string]Receipt)
	for _, r := range ReceiptsOf(shadowName, now) {
		current[r.Path] = r
	}
	out := make([]Receipt, 0, len(written))
	for _, w := range written {
		r, there := current[w.Path]
		switch {
		case w.SupersededBy > 0 || !there:
			r = Receipt{Path: w.Path, Value: w.Value, Status: ReceiptSuperseded, Asked: w.Asked, SupersededBy: w.SupersededBy}
		case w.Asked > 0:
			r.Asked = w.Asked
		}
		out = append(out, r)
	}
	return out
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
	r := receipts{
		observed: status.ObservedVersion, current: status.ObservedVersion >= d.DesiredVersion,
		fault: status.Fault, override: status.Override,
	}
	if kind == KindApplication || kind == KindPolicy {
		if n := number(d.Reported.Get("attempts")); n < 1<<31 {
			r.attempts = int(n)
		}
	}
	for key, v := range d.Desired.Members() {
		r.add(shadow.RootPath(key), v, d.Reported.Get(key))
	}
	return r.all
}

type receipts struct {
	observed uint64
	current  bool // the edge has acted on what is desired now
	attempts int
	fault    *Fault
	override *Override
	all      []Receipt
}

func (r *receipts) add(path string, desired, reported *shadow.Value) {
	if desired.Kind() == shadow.Object && desired.Len() > 0 {
		for key, v := range desired.Members() {
			r.add(shadow.JoinPath(path, key), v, reported.Get(key))
		}
		return
	}
	one := Receipt{Path: path, Value: desired, Status: ReceiptPending, Asked: desired.Stamp(), Version: r.observed}
	switch {
	case applied(desired, reported):
		one.Status, one.Applied = ReceiptApplied, reported.Stamp()
	case r.override != nil && r.override.Covers(path):
		// The node holds it back, and will apply it when the override ends.
		one.Code, one.Message, one.Retryable = CodeOverridden, r.override.Text(), true
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
