package crash

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Shadow names one shadow; Name "" is the classic one.
type Shadow struct{ Thing, Name string }

func (s Shadow) String() string {
	if s.Name == "" {
		return s.Thing
	}
	return s.Thing + "/" + s.Name
}

// Slot is where one updater writes: one key in one section of one shadow. Only
// that updater writes it, one value at a time, so its values arrive in order.
type Slot struct {
	Shadow  Shadow
	Section string // desired or reported
	Index   uint32 // the updater's number
}

// Key is the slot's member in its section.
func (s Slot) Key() string { return "u" + strconv.Itoa(int(s.Index)) }

// Token is the nth value of a slot; it serves as client token as well, so that
// every message about the write names it.
func (s Slot) Token(n uint32) string { return s.Key() + "-" + strconv.Itoa(int(n)) }

// parseToken takes a token apart; ok is false for tokens of others.
func parseToken(token string) (write, bool) {
	key, n, ok := strings.Cut(token, "-")
	num, isKey := strings.CutPrefix(key, "u")
	index, err1 := strconv.ParseUint(num, 10, 32)
	count, err2 := strconv.ParseUint(n, 10, 32)
	return write{uint32(index), uint32(count)}, ok && isKey && err1 == nil && err2 == nil
}

// write is one write of one updater.
type write struct{ index, n uint32 }

func (w write) String() string { return fmt.Sprintf("u%d-%d", w.index, w.n) }

// Document is what the cloud holds of a shadow, reduced to what is judged.
type Document struct {
	Version  uint64
	Sections map[string]map[string]string // section → key → value
}

// Counts is what happened to all writes.
type Counts struct {
	Attempted    int `json:"attempted"`
	Acknowledged int `json:"acknowledged"`
	PubackOnly   int `json:"pubackOnly"` // acknowledged by the PUBACK, the accepted message was lost with the process
	Refused      int `json:"refused"`
	Unknown      int `json:"unknown"` // the process died before an answer
}

// MaxViolations bounds how many violations are kept; more are only counted.
const MaxViolations = 20

// Ledger holds what was written, what was acknowledged and which version each
// write got, and judges what the cloud holds against it. It may be used by any
// number of goroutines.
type Ledger struct {
	mu         sync.Mutex
	slots      map[Slot]*entry
	shadows    map[Shadow]*versions
	counts     Counts
	violations []string
	violated   int
}

type entry struct {
	attempted uint32 // the last value tried
	acked     uint32 // the last value acknowledged, 0 = none
	refused   map[uint32]bool
}

type versions struct {
	writes    map[uint64]write // version → who got it
	given     map[write]uint64 // who → version
	highest   uint64           // of all versions seen
	uncertain int              // writes that may hold a version nobody saw
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{slots: map[Slot]*entry{}, shadows: map[Shadow]*versions{}}
}

// Attempt records that the next value of s is about to be written.
func (l *Ledger) Attempt(s Slot) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.slots[s]
	if e == nil {
		e = &entry{refused: map[uint32]bool{}}
		l.slots[s] = e
	}
	l.of(s.Shadow)
	e.attempted++
	l.counts.Attempted++
	return e.attempted
}

// Outcome is what its writer learnt about a write.
type Outcome struct {
	Acked    bool // a PUBACK, an accepted message or a 200
	Answered bool // the answer carried the version: accepted or 200
	Refused  bool // definitely not written
}

// Settle records what became of the nth value of s.
func (l *Ledger) Settle(s Slot, n uint32, o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.slots[s]
	switch {
	case o.Refused && o.Answered:
		l.violate("%s %s: both accepted and refused", s.Shadow, s.Token(n))
	case o.Refused:
		e.refused[n] = true
		l.counts.Refused++
	case o.Acked:
		e.acked = n
		l.counts.Acknowledged++
		if !o.Answered {
			l.counts.PubackOnly++
			l.of(s.Shadow).uncertain++
		}
	default:
		l.counts.Unknown++
		l.of(s.Shadow).uncertain++
	}
}

// Version records that the cloud said it gave version of shadow to the write
// with this token; it may be said many times, to anyone, and must never change.
func (l *Ledger) Version(shadow Shadow, version uint64, token string) {
	w, ok := parseToken(token)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.of(shadow)
	if other, seen := v.writes[version]; seen && other != w {
		l.violate("%s: version %d given to %s and to %s", shadow, version, other, w)
	}
	if other, seen := v.given[w]; seen && other != version {
		l.violate("%s: %s got version %d and version %d", shadow, w, other, version)
	}
	v.writes[version], v.given[w] = w, version
	v.highest = max(v.highest, version)
}

func (l *Ledger) of(s Shadow) *versions {
	v := l.shadows[s]
	if v == nil {
		v = &versions{writes: map[uint64]write{}, given: map[write]uint64{}}
		l.shadows[s] = v
	}
	return v
}

func (l *Ledger) violate(format string, args ...any) {
	l.violated++
	if len(l.violations) < MaxViolations {
		l.violations = append(l.violations, fmt.Sprintf(format, args...))
	}
}

// Violate records a breach found by the experiment itself.
func (l *Ledger) Violate(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violate(format, args...)
}

// Acknowledged returns how many writes were acknowledged so far.
func (l *Ledger) Acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts.Acknowledged
}

// Result returns the counts, the violations kept and how many there were.
func (l *Ledger) Result() (Counts, []string, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts, append([]string{}, l.violations...), l.violated
}
