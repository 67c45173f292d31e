package faults

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\toutcome\ttook")
	for _, x := range r.Results {
		fmt.Fprintf(table, "%s\t%s\t%s\n", x.Fault, x.Outcome, x.Took.Round(10*time.Millisecond))
	}
	_ = table.Flush() // what w cannot take is its owner's business
	for _, x := range r.Results {
		if x.Error != "" {
			fmt.Fprintf(w, "\nFAILED %s: %s\n", x.Fault, x.Error)
		}
	}
	verdict := "held: every fault was survived, nothing else was touched, nothing is left over"
	if !r.OK() {
		verdict = fmt.Sprintf("NOT HELD: %d of %d", r.Failed, len(r.Results))
	}
	fmt.Fprintf(w, "\n%d faults in %.0f s; %d × %s, %.1f %% stolen by the host\nseed    %d\nresult  %s\n",
		len(r.Results), r.Seconds, r.Machine.CPUs, strings.TrimSpace(r.Machine.CPU), r.Machine.StealPercent, r.Seed, verdict)
}
