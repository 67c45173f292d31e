package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
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
		if err := m.picture(&out, width, time.Time{}); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("within %d, %v:\n%s\nwant\n%s", width, err, out.String(), want)
		}
	}
}

// Where there is nothing to draw it is said why, and when there will be.
func TestCompleteness_Nothing(t *testing.T) {
	const head = `{"node":"gw-1","policy":"area","day":"2026-11-22","zone":"+08:00","column":"1m0s","columns":1440,"meters":[{"meter":"m1","cells":" "}],`
	now := time.Date(2026, 11, 21, 20, 5, 52, 300, time.UTC)
	for name, c := range map[string]struct{ body, want string }{
		"no slot counts yet": {
			`"next":{"at":"2026-11-21T20:06:00Z","counts":"2026-11-21T20:08:00Z"},"kpis":{"meters":1}}`,
			"nothing counts yet: the first slot is that of 04:06:00; it counts in 2m8s, when its cycle is over and gw-1 has had the time to tell\n",
		},
		"one is about to": {
			`"next":{"at":"2026-11-21T20:03:52Z","counts":"2026-11-21T20:05:52Z"},"kpis":{"meters":1}}`,
			"nothing counts yet: the first slot is that of 04:03:52; it counts in 1s, when its cycle is over and gw-1 has had the time to tell\n",
		},
		"there is none on the day": {`"kpis":{"meters":1}}`, "nothing was to be read: the policy has no slot on this day\n"},
		"it wasn't there":          {`"kpis":{"meters":0}}`, "nothing was to be read: the policy wasn't there on this day, or it is disabled\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m := decode[completeness](t, head+c.body)
			var out bytes.Buffer
			if err := m.picture(&out, 100, now); err != nil || out.String() != "area of gw-1 on 2026-11-22 (UTC+08:00)\n"+c.want {
				t.Errorf("%v:\n%s\nwant\n%s", err, out.String(), c.want)
			}
		})
	}
	silent := decode[completeness](t, strings.Replace(head, `" "`, `"."`, 1)+`"kpis":{"meters":1,"expected":2,"missing":[{"reason":"not-told","count":2}]}}`)
	var out bytes.Buffer
	if err := silent.picture(&out, 100, now); err != nil || !strings.HasSuffix(out.String(), "missing    not-told 2\ngw-1 has told nothing of it yet: gnomon explain policy gw-1/area says how far it is\n") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}
