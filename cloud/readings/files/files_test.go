package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/cloud/readings"
	"gnomon/cloud/readings/readingstest"
	"gnomon/schema/reading"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg Config) (*Sink, func()) {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func told(slot int) readings.Told {
	at := readingstest.Day.Add(time.Duration(slot) * 15 * time.Minute)
	number := reading.Number{Mantissa: 123456789012345678, Exponent: -3}
	return readings.Told{Node: "n1", Stored: at.Add(time.Minute), Batch: &reading.Batch{
		ID: 1, Policy: "curve", Version: 7, Items: []string{"V", "E", "X"}, Rows: []reading.Row{{
			Meter: "m1", At: at, Arrived: at.Add(time.Second), Source: reading.BackFill,
			Values: []reading.Value{{State: reading.Good, Number: number}, {State: reading.Missing, Reason: "timeout"}, {}},
		}},
	}}
}

// lines reads all whole files, in order of their names.
func lines(t *testing.T, dir string) (out []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for in := bufio.NewScanner(bytes.NewReader(data)); in.Scan(); {
			if !json.Valid(in.Bytes()) {
				t.Errorf("%s: %q is no JSON", name, in.Text())
			}
			out = append(out, in.Text())
		}
	}
	return out
}

func TestSink(t *testing.T) {
	dir := t.TempDir()
	s, stop := start(t, Config{Dir: dir, FileBytes: 600})
	for i := range 10 {
		readingstest.Put(t, s, told(i))
	}
	stop()
	got := lines(t, dir)
	want := `{"node":"n1","policy":"curve","version":7,"meter":"m1","at":"2026-03-29T00:00:00Z","arrived":"2026-03-29T00:00:01Z","stored":"2026-03-29T00:01:00Z","source":"backfill","values":{"V":123456789012345.678},"missing":{"E":"timeout"}}`
	if len(got) != 10 || got[0] != want {
		t.Errorf("%d lines, the first %s; want 10, and %s", len(got), strings.Join(got[:min(1, len(got))], ""), want)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) < 3 {
		t.Errorf("files %q: they don't rotate", names)
	}
	if err := s.Submit(context.Background(), told(0), func(error) {}); !errors.Is(err, readings.ErrClosed) {
		t.Errorf("after its end: %v", err)
	}
}

// What is done is in a file even while that is being written; what a killed process
// has left is made whole, up to its last whole line.
func TestSink_Killed(t *testing.T) {
	dir := t.TempDir()
	s, stop := start(t, Config{Dir: dir})
	readingstest.Put(t, s, told(1))
	parts, err := filepath.Glob(filepath.Join(dir, "*.part"))
	if err != nil || len(parts) != 1 {
		t.Fatalf("parts %q, %v", parts, err)
	}
	left, err := os.ReadFile(parts[0])
	if err != nil || bytes.Count(left, []byte("\n")) != 1 {
		t.Fatalf("%q, %v", left, err)
	}
	after := t.TempDir()
	for name, text := range map[string]string{"a.part": string(left) + `{"node":"n1","po`, "b.part": `{"no`} {
		if err := os.WriteFile(filepath.Join(after, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	_, stop = start(t, Config{Dir: after})
	stop()
	if got := lines(t, after); len(got) != 1 || got[0]+"\n" != string(left) {
		t.Errorf("after a kill %q, want %q", got, left)
	}
	if parts, _ := filepath.Glob(filepath.Join(after, "*.part")); len(parts) != 0 {
		t.Errorf("left over: %q", parts)
	}
}

// A directory is one sink's alone: another would close the file that this one writes
// to, and somebody would take it away as whole while rows are still added to it.
func TestOpen_Twice(t *testing.T) {
	dir := t.TempDir()
	s, stop := start(t, Config{Dir: dir})
	readingstest.Put(t, s, told(1))
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Fatalf("a directory in use is opened again: %v", err)
	}
	if whole := lines(t, dir); len(whole) != 0 {
		t.Errorf("who was refused has closed another's file, with %q", whole)
	}
	readingstest.Put(t, s, told(2))
	stop()
	if got := lines(t, dir); len(got) != 2 {
		t.Errorf("%q, want both rows", got)
	}
	s, _ = start(t, Config{Dir: dir})
	readingstest.Put(t, s, told(3))
}

// A full directory refuses until files have been taken away.
func TestSink_Full(t *testing.T) {
	dir := t.TempDir()
	s, _ := start(t, Config{Dir: dir, FileBytes: 1, DirBytes: 700})
	full := 0
	for i := range 20 {
		done := make(chan error, 1)
		if err := s.Submit(context.Background(), told(i), func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; errors.Is(err, ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(lines(t, dir)); full == 0 || n+full != 20 {
		t.Fatalf("%d written, %d refused, of 20", n, full)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	readingstest.Put(t, s, told(99))
}

// A file is closed when it is old, without anybody writing.
func TestSink_Age(t *testing.T) {
	dir := t.TempDir()
	s, _ := start(t, Config{Dir: dir, FileAge: 20 * time.Millisecond})
	readingstest.Put(t, s, told(1))
	for end := time.Now().Add(20 * time.Second); len(lines(t, dir)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the file stays open")
		}
	}
}
