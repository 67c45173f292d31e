package export_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/export"
	"gnomon/cloud/readings/readingstest"
	pebblereadings "gnomon/cloud/store/pebble/readings"
	"gnomon/schema/reading"
)

func open(t *testing.T) *pebblereadings.Store {
	t.Helper()
	s, err := pebblereadings.Open(pebblereadings.Config{Dir: "d", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	readingstest.Start(t, s)
	return s
}

var of = readings.Policy{Node: "n1", Name: "p"}

func lines(t *testing.T, s readings.Store) string {
	t.Helper()
	var out bytes.Buffer
	file, err := export.New(export.NDJSON, &out)
	if err != nil {
		t.Fatal(err)
	}
	q := readings.Scan{Policy: of, From: readingstest.Day.AddDate(0, 0, -9), To: readingstest.Day.AddDate(0, 0, 9)}
	if err := s.Scan(context.Background(), q, func(r *readings.Row) bool { return file.Row(of, r) == nil }); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What was exported is read into another store, to the digit and with how it came.
func TestImport(t *testing.T) {
	from := open(t)
	for round, source := range []reading.Source{reading.Cycle, reading.BackFill} {
		b := &reading.Batch{ID: 1, Policy: "p", Version: uint64(3 + round), Items: []string{"V", "E", "X"}}
		for i := range 2500 {
			at := readingstest.Day.Add(time.Duration(i) * time.Minute)
			v := reading.Value{State: reading.Missing, Reason: "timeout"}
			if i%2 == round {
				v = reading.Value{State: reading.Good, Number: reading.Number{Mantissa: int64(10*i + 1), Exponent: -3}}
			}
			b.Rows = append(b.Rows, reading.Row{Meter: "m1", At: at, Arrived: at.Add(time.Second), Source: source, Values: []reading.Value{v, {State: reading.Good, Number: reading.Number{Mantissa: 7}}, {}}})
		}
		readingstest.Put(t, from, readings.Told{Node: "n1", Batch: b, Stored: readingstest.Day.Add(time.Duration(round) * time.Hour)})
	}
	want := lines(t, from)
	to := open(t)
	for range 2 { // an import that was cut off can be repeated
		n, err := export.Import(context.Background(), strings.NewReader(want), to)
		if err != nil || n != strings.Count(want, "\n") {
			t.Fatalf("%d values, %v", n, err)
		}
	}
	if got := lines(t, to); got != want {
		t.Errorf("%d bytes, want %d: %.300s", len(got), len(want), got)
	}
	first, _, _ := strings.Cut(want, "\n")
	for _, bad := range []string{"{}", "rubbish", strings.Replace(first, `"E"`, `"a b"`, 1), strings.Replace(first, "2026-", "26-", 1), strings.Replace(first, `"cycle"`, `"x"`, 1), strings.Replace(first, `"n1"`, `"a/b"`, 1)} {
		if n, err := export.Import(context.Background(), strings.NewReader(first+"\n"+bad+"\n"), to); err == nil || n != 1 || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%s: %d, %v", bad, n, err)
		}
	}
}
