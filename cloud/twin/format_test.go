package twin

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/changeset"
	"gnomon/cloud/store/pebble"
)

// opened runs a service on a copy of a directory that another version wrote.
func opened(t *testing.T, format string, c *clock) *bench {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "store", "pebble", "testdata", format))); err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open(pebble.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, db)
	t.Cleanup(stop)
	return open(t, vfs.NewMem(), func(cfg *Config) {
		living(c)(cfg)
		cfg.Store = db
	})
}

// run commits what is submitted until the function it returns is called.
func run(t *testing.T, db *pebble.Store) (stop func()) {
	ended := make(chan error, 1)
	running, cancel := context.WithCancel(ctx)
	go func() { ended <- db.Run(running) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A store of the first format goes on where it was, and gets histories from then
// on, which go back to what was there.
func TestFormat1(t *testing.T) {
	b := opened(t, "format-1", newClock())
	k := key("gw-1", "app:clock")
	if d := b.must(t, k, `{"state":{"desired":{"run":{"env":{"EVERY":"9"}}}}}`); d.Version != 4 {
		t.Errorf("version %d after 3", d.Version)
	}
	if d, changed, err := b.Revert(ctx, op, k, 3, nil); err != nil || !changed || d.Version != 5 || d.Desired.At("run", "env", "EVERY").Text() != "1" {
		t.Errorf("%+v, %v", d, err)
	}
	if got := b.mustChange(t, "gw-1", `{"shadows":{"app:clock":{"desired":{"run":{"env":{"EVERY":"2"}}}}}}`); got.Change.Generation != 1 {
		t.Errorf("generation %d", got.Change.Generation)
	}
}

// A store of the second format has its histories and change-sets, and carries on
// with those.
func TestFormat2(t *testing.T) {
	c := newClock()
	c.move(time.Date(2027, 5, 31, 12, 0, 0, 0, time.UTC).Sub(c.Now()))
	b := opened(t, "format-2", c)
	b.scheduled(t)
	scan(t, b)
	if got := versions(t, b, key("gw-1", "app:clock")); got != "1 change-set, 2 http" {
		t.Errorf("history %s", got)
	}
	if got := versions(t, b, key("gw-1", "gone")); got != "1 http, 2 http deleted" {
		t.Errorf("history of what was deleted: %s", got)
	}
	log, _, err := b.History(ctx, op, key("gw-1", "app:clock"))
	if err != nil {
		t.Fatal(err)
	}
	if e, desired, err := log.At(1); err != nil || desired.At("run", "env", "EVERY").Text() != "5" || e.Generation != 1 || e.By != "operator local" {
		t.Errorf("version 1: %+v, %s, %v", e, desired.AppendJSON(nil), err)
	}
	got, err := b.ChangeOf(ctx, op, "gw-1", 2)
	if err != nil || got.Status != changeset.Scheduled || got.Next != time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC).Unix() {
		t.Fatalf("%+v, %v", got, err)
	}
	c.move(13 * time.Hour)
	b.must(t, key("gw-1", "app:clock"), `{"state":{"reported":{"phase":"running"}}}`)
	b.until(t, "gw-1", 2, changeset.Reached) // there is nothing to wait for: it only removes
	if got := b.desired(t, key("gw-1", "cfg")); got != "nothing" {
		t.Errorf("desired %s", got)
	}
}
