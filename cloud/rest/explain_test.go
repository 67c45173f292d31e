package rest

import (
	"strings"
	"testing"

	"gnomon/schema"
)

// Whoever asks why something isn't so hears what the node says, and what to do.
func TestExplanation_Words(t *testing.T) {
	fault := func(code string, retryable bool) *schema.Fault {
		return &schema.Fault{Code: code, Message: "because", Retryable: retryable}
	}
	for _, c := range []struct {
		name          string
		e             Explanation
		seen          bool
		summary, next string
	}{
		{"converged", Explanation{Converged: true, DesiredVersion: 3}, true, "applied desired version 3", ""},
		{"no node", Explanation{Node: "gw-1"}, false, "node gw-1 has never reported", "--node gw-1"},
		{"tried again", Explanation{Phase: "failed", Error: fault("disk-full", true)}, true, "failed: because (disk-full)", "tries again by itself"},
		{"refused", Explanation{Phase: "failed", Error: fault("invalid", false)}, true, "failed: because (invalid)", "won't try the same again"},
		{"no room", Explanation{Phase: "failed", Error: fault(schema.FaultNoRoom, false)}, true, "because (no-room)", "shares the line with"},
		{"not yet", Explanation{DesiredVersion: 4, ObservedVersion: 3, Node: "gw-1"}, true, "last acted on 3", "gnomon describe node gw-1"},
		{"at it", Explanation{Phase: "starting", Node: "gw-1"}, true, "phase starting", "gnomon watch gw-1"},
	} {
		summary, next := c.e.words(c.seen)
		if !strings.Contains(summary, c.summary) || !strings.Contains(next, c.next) || (next == "") != (c.next == "") {
			t.Errorf("%s: %q, %q; want %q, %q", c.name, summary, next, c.summary, c.next)
		}
	}
}
