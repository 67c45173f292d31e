package main

import (
	"bytes"
	"strings"
	"testing"
)

// The picture of a day has a line for each meter, within the width.
func TestCompleteness_Picture(t *testing.T) {
	var m completeness
	m.Node, m.Policy, m.Day, m.Zone, m.Column, m.Columns = "gw-1", "curve", "2026-03-29", "+08:00", "15m0s", 96
	m.Meters = append(m.Meters, m.Meters...)
	for _, cells := range []string{strings.Repeat(" ", 48) + strings.Repeat(".", 24), strings.Repeat(" ", 48) + "##x#b+" + strings.Repeat("#", 18)} {
		m.Meters = append(m.Meters, struct {
			Meter    string           `json:"meter"`
			Expected int64            `json:"expected"`
			Stored   int64            `json:"stored"`
			Backfill int64            `json:"backfill,omitempty"`
			Cells    string           `json:"cells"`
			Missing  map[string]int64 `json:"missing,omitempty"`
		}{Meter: "m1", Expected: 24, Stored: int64(strings.Count(cells, "#")), Cells: cells + strings.Repeat(" ", 24)})
	}
	m.KPIs.Meters, m.KPIs.Expected, m.KPIs.Stored, m.KPIs.Completeness = 2, 48, 22, 22.0/48
	for width, want := range map[int]string{
		80: "curve of gw-1 on 2026-03-29 (UTC+08:00), 15m to a character\n" +
			"METER          12:00       15:00\n" +
			"m1       0.0%  ........................\n" +
			"m1      87.5%  ##x#b+##################\n" +
			"points     45.8% of 48 (22 of 48 meters by slots by items)\n",
		30: "curve of gw-1 on 2026-03-29 (UTC+08:00), 30m to a character\n" +
			"METER          12:00\n" +
			"m1       0.0%  ............\n" +
			"m1      87.5%  #x+#########\n",
	} {
		var out bytes.Buffer
		if err := m.picture(&out, width); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("within %d, %v:\n%s\nwant\n%s", width, err, out.String(), want)
		}
	}
}
