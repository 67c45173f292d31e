package crash

import (
	"strings"
	"testing"
)

var (
	lamp  = Shadow{Thing: "lamp"}
	slotA = Slot{Shadow: lamp, Section: "reported", Index: 1}
	slotB = Slot{Shadow: lamp, Section: "desired", Index: 2}
)

func holds(version uint64, section, key, value string) map[Shadow]Document {
	return map[Shadow]Document{lamp: {Version: version, Sections: map[string]map[string]string{section: {key: value}}}}
}

// Each case writes through story and then finds held in the cloud; says is part
// of the only violation, or "" when all is well.
func TestLedgerJudges(t *testing.T) {
	ack := Outcome{Acked: true, Answered: true}
	write := func(l *Ledger, s Slot, o Outcome, version uint64) {
		n := l.Attempt(s)
		if version > 0 {
			l.Version(s.Shadow, version, s.Token(n))
		}
		l.Settle(s, n, o)
	}
	for _, tc := range []struct {
		name  string
		story func(*Ledger)
		held  map[Shadow]Document
		says  string
	}{
		{"the last acknowledged value is there", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotA, ack, 2)
		}, holds(2, "reported", "u1", "u1-2"), ""},
		{"an older value is a loss", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotA, ack, 2)
		}, holds(2, "reported", "u1", "u1-1"), "u1-2 was acknowledged"},
		{"nothing there is a loss", func(l *Ledger) {
			write(l, slotA, ack, 1)
		}, holds(1, "desired", "u2", "u2-0"), "nothing is held"},
		{"a write of unknown fate may be there", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotA, Outcome{}, 0)
		}, holds(2, "reported", "u1", "u1-2"), ""},
		{"a write of unknown fate may be lost", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotA, Outcome{}, 0)
		}, holds(1, "reported", "u1", "u1-1"), ""},
		{"a PUBACK alone counts as acknowledged", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotA, Outcome{Acked: true}, 0)
		}, holds(1, "reported", "u1", "u1-1"), "u1-2 was acknowledged"},
		{"a refused value must not be there", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotA, Outcome{Refused: true}, 0)
			write(l, slotA, Outcome{}, 0)
		}, holds(2, "reported", "u1", "u1-2"), "refused"},
		{"a value nobody wrote", func(l *Ledger) {
			write(l, slotA, ack, 1)
		}, holds(1, "reported", "u1", "u1-7"), "never written"},
		{"a value of somebody else", func(l *Ledger) {
			write(l, slotA, ack, 1)
		}, holds(1, "reported", "u1", "u2-1"), "never written"},
		{"one version for two writes", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotB, ack, 1)
			write(l, slotB, Outcome{}, 0)
		}, map[Shadow]Document{lamp: {Version: 2, Sections: map[string]map[string]string{"reported": {"u1": "u1-1"}, "desired": {"u2": "u2-1"}}}},
			"version 1 given to u1-1 and to u2-1"},
		{"two versions for one write", func(l *Ledger) {
			write(l, slotA, ack, 1)
			l.Version(lamp, 2, "u1-1")
		}, holds(2, "reported", "u1", "u1-1"), "got version 1 and version 2"},
		{"the version went back", func(l *Ledger) {
			write(l, slotA, ack, 1)
			write(l, slotA, Outcome{Acked: true, Answered: true}, 2)
			l.Version(lamp, 3, "u9-1")
		}, holds(2, "reported", "u1", "u1-2"), "3 was seen before"},
		{"a version that no write explains", func(l *Ledger) {
			write(l, slotA, ack, 1)
		}, holds(2, "reported", "u1", "u1-1"), "0 writes are of unknown fate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := NewLedger()
			tc.story(l)
			l.JudgeEnd(tc.held)
			_, violations, n := l.Result()
			if tc.says == "" && n != 0 || tc.says != "" && (n == 0 || !strings.Contains(violations[0], tc.says)) {
				t.Errorf("violations %q, want one saying %q", violations, tc.says)
			}
		})
	}
}

func TestViolationsAreBounded(t *testing.T) {
	l := NewLedger()
	for range 10 * MaxViolations {
		l.Violate("again")
	}
	if _, kept, n := l.Result(); len(kept) != MaxViolations || n != 10*MaxViolations {
		t.Errorf("kept %d of %d", len(kept), n)
	}
}

func TestTokensOfOthersAreIgnored(t *testing.T) {
	for _, token := range []string{"", "u1", "x1-2", "u-1", "u1-", "u1-x", "web-1"} {
		if w, ok := parseToken(token); ok {
			t.Errorf("%q was taken for %v", token, w)
		}
	}
	if w, ok := parseToken(slotB.Token(12)); !ok || w != (write{2, 12}) {
		t.Errorf("%v, %v", w, ok)
	}
}
