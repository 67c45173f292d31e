package pebble

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// golden returns a copy of a directory that an earlier version of Gnomon wrote.
func golden(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// contents lists what a store holds, one line for each record.
func contents(t *testing.T, s *Store) string {
	t.Helper()
	records, err := s.Scan(context.Background(), store.Key{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range records {
		d, err := shadow.ParseRecord(r.Data)
		if err != nil {
			t.Fatalf("%v: %v", r.Key, err)
		}
		fmt.Fprintf(&b, "%s/%s %d %d", r.Key.Thing, r.Key.Shadow, d.Version, d.DesiredVersion)
		if d.Deleted {
			b.WriteString(" deleted")
		}
		for _, v := range []*shadow.Value{d.Desired, d.Reported} {
			if v != nil {
				fmt.Fprintf(&b, " %s", v.AppendJSON(nil))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const format1 = `gw-1/ 1 1 {"node":{"labels":{"zone":"east"},"site":"s-7"}}
gw-1/app:clock 3 3 {"mode":"host","run":{"command":["/bin/date"],"env":{"EVERY":"1"}}} {"mode":"host","observedVersion":1,"phase":"running","run":{"command":["/bin/date"],"env":{"EVERY":"5"}}}
meter-9/ 1 1 {"a.b":{},"n":1.50,"text":"电表 \" \u0001"} {"n":[1,{"x":true}]}
meter-9/gone 2 2 deleted
`

// A store of the first format is opened, is as it was, and can be written; from
// then on it says the present format.
func TestOpen_Format1(t *testing.T) {
	dir := golden(t, "format-1")
	run := func(t *testing.T) { // closed when it returns
		s := running(t, Config{Dir: dir})
		if got := contents(t, s); got != format1 {
			t.Errorf("got\n%swant\n%s", got, format1)
		}
		things, err := s.Things(context.Background(), "", 10)
		if err != nil || fmt.Sprint(things) != "[gw-1 meter-9]" {
			t.Errorf("things %v, %v", things, err)
		}
		number, closer, err := s.db.Get([]byte(formatKey))
		if err != nil {
			t.Fatal(err)
		}
		defer closer.Close()
		if string(number) != fmt.Sprint(store.Format) {
			t.Errorf("it says format %s, want %d", number, store.Format)
		}
		key := store.Key{Thing: "gw-1"}
		data, err := s.Load(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		if err := s.Submit(context.Background(), []store.Record{{Key: key, Data: data}}, func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Run("first", run)
	t.Run("again", run)
}

// A store of a later version is refused, untouched, with both numbers and what
// to do.
func TestOpen_NewerFormat(t *testing.T) {
	dir := golden(t, "format-1")
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]string{
		"3":  "data format 3 is newer than this gnomon reads (2); run the version that wrote it, or a later one",
		"x1": `data format "x1" is none that gnomon writes`,
	} {
		if err := s.db.Set([]byte(formatKey), []byte(number), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.checkFormat(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("format %s: %v", number, err)
		}
		value, closer, err := s.db.Get([]byte(formatKey))
		if err != nil || string(value) != number {
			t.Errorf("it was made %s, %v", value, err)
		}
		closer.Close()
	}
	if err := s.db.Set([]byte(formatKey), []byte("3"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "data format 3 is newer") {
		t.Errorf("opened: %v", err)
	}
}
