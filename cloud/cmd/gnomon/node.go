package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"gnomon/schema"
)

// describeNode says in a line each which alarms of a node are raised and what it
// lacks for being without the cloud. Of what is no node there is nothing to say.
func describeNode(w io.Writer, node object) {
	alarms := node.in(schema.ActiveAlarmsMember)
	for _, name := range slices.Sorted(maps.Keys(alarms)) {
		a := alarms.in(name)
		if a == nil {
			continue
		}
		fmt.Fprintf(w, "  alarm     %s (%s): %s of %s is above %s since %s\n",
			name, a.text("severity"), a.text("metric"), a.text("of"), a.text("above"), a.text("raised"))
	}
	ready := node.in(schema.ReadinessMember)
	if ready == nil {
		return
	}
	fmt.Fprintf(w, "  ready     %s\n", ready.text("level"))
	checks := ready.in("checks")
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		if c := checks.in(name); c.text("level") != "ok" {
			fmt.Fprintf(w, "            %s (%s): %s\n", name, c.text("level"), c.text("message"))
		}
	}
}
