package readings

import (
	"sync"
	"time"

	"gnomon/shadow"
)

// reportEvery is how often numbers that always change go into the node's report.
const reportEvery = 15 * time.Minute

// Report is what a node says of its store in its shadow: what is wrong at once, and
// how much there is every reportEvery. Its zero value is ready to use.
type Report struct {
	mu    sync.Mutex
	at    time.Time
	last  Status
	value *shadow.Value
}

// Value is the report of a status; nil while nothing was ever collected.
func (r *Report) Value(s Status, now time.Time) *shadow.Value {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.value == nil && s.Points == 0 && s.Fault == nil && s.SetAside == 0 {
		return nil
	}
	since := now.Sub(r.at)
	if r.value != nil && since >= 0 && since < reportEvery && sameTrouble(r.last, s) {
		return r.value
	}
	r.at, r.last = now, s
	members := []shadow.Member{
		{Key: "points", Value: shadow.Int(int64(s.Points))},
		{Key: "unsent", Value: shadow.Int(int64(s.Unsent))},
		{Key: "bytes", Value: shadow.Int(int64(s.Bytes))},
		{Key: "bound", Value: shadow.Int(int64(s.Bound))},
	}
	if !s.Oldest.IsZero() {
		members = append(members, shadow.Member{Key: "oldest", Value: shadow.Text(s.Oldest.Format(time.RFC3339))})
	}
	for _, n := range []struct {
		key   string
		value int64
	}{{"dropped", s.Dropped}, {"refused", s.Refused}, {"setAside", int64(s.SetAside)}} {
		if n.value > 0 {
			members = append(members, shadow.Member{Key: n.key, Value: shadow.Int(n.value)})
		}
	}
	if f := s.Fault; f != nil {
		members = append(members, shadow.Member{Key: "error", Value: shadow.NewObject(
			shadow.Member{Key: "code", Value: shadow.Text(f.Code)},
			shadow.Member{Key: "message", Value: shadow.Text(f.Message[:min(len(f.Message), 600)])},
			shadow.Member{Key: "at", Value: shadow.Text(f.Since.UTC().Format(time.RFC3339))})})
	}
	r.value = shadow.NewObject(members...)
	return r.value
}

// sameTrouble tells whether nothing has gone wrong, or right, since. What is dropped
// or refused again and again is told every reportEvery.
func sameTrouble(a, b Status) bool {
	code := func(s Status) string {
		if s.Fault == nil {
			return ""
		}
		return s.Fault.Code
	}
	return code(a) == code(b) && (a.Dropped > 0) == (b.Dropped > 0) && (a.Refused > 0) == (b.Refused > 0) && a.SetAside == b.SetAside
}
