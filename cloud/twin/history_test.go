package twin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/shadow"
)

// counting is a store that counts what is written to it.
type counting struct {
	store.Store
	mu      sync.Mutex
	records []store.Key
	bytes   int
}

func (c *counting) Submit(ctx context.Context, records []store.Record, done func(error)) error {
	c.mu.Lock()
	for _, r := range records {
		c.records = append(c.records, r.Key)
		c.bytes += len(r.Data)
	}
	c.mu.Unlock()
	return c.Store.Submit(ctx, records, done)
}

func (c *counting) since() (keys []store.Key, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys, bytes = c.records, c.bytes
	c.records, c.bytes = nil, 0
	return keys, bytes
}

func versions(t testing.TB, b *bench, k store.Key) string {
	t.Helper()
	log, _, err := b.History(ctx, op, k)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range log.Entries() {
		text := fmt.Sprintf("%d %s", e.Version, e.Via)
		if e.Deleted {
			text += " deleted"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestHistory(t *testing.T) {
	fs := vfs.NewMem()
	b := open(t, fs, nil)
	k := key("n", "app:web")
	b.must(t, k, `{"state":{"desired":{"component":"web@1"}}}`)
	if err := b.request(t, "$aws/things/n/shadow/name/app:web/update", `{"state":{"desired":{"component":"web@2","run":{"env":{"A":"1"}}}}}`); err != nil {
		t.Fatal(err)
	}
	b.must(t, k, `{"state":{"reported":{"phase":"running"}}}`)
	if _, err := b.Delete(ctx, op, k, nil); err != nil {
		t.Fatal(err)
	}
	if got := versions(t, b, k); got != "1 http, 2 mqtt, 4 http deleted" {
		t.Errorf("versions %s", got)
	}
	d, changed, err := b.Revert(ctx, op, k, 2, nil)
	if err != nil || !changed || d.Version != 5 || string(d.Desired.AppendJSON(nil)) != `{"component":"web@2","run":{"env":{"A":"1"}}}` {
		t.Fatalf("reverted to %+v, %v", d, err)
	}
	if _, changed, err := b.Revert(ctx, op, k, 2, nil); err != nil || changed {
		t.Errorf("again: changed %v, %v", changed, err)
	}
	wrong := uint64(3)
	if _, _, err := b.Revert(ctx, op, k, 1, &wrong); !errors.Is(err, shadow.ErrVersionConflict) {
		t.Errorf("onto another version: %v", err)
	}
	for version, want := range map[uint64]string{
		3: "Version 3 of n/app:web is not in its history: the versions of desired that are kept are 1 to 5",
		4: "Version 4 is the deletion",
	} {
		if _, _, err := b.Revert(ctx, op, k, version, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to version %d: %v", version, err)
		}
	}
	if _, _, err := b.History(ctx, op, key("n", "app:none")); !errors.Is(err, shadow.ErrNotFound) {
		t.Errorf("of what never was: %v", err)
	}
	// It is no shadow: nobody sees or names it.
	if _, err := b.Get(ctx, op, history.Key(k)); err == nil {
		t.Error("the history can be read as a shadow")
	}
	b.must(t, key("n", ""), `{"state":{"desired":{"a":1}}}`)
	list, _, err := b.Shadows(ctx, op, "n", Page{Limit: 10})
	if err != nil || len(list) != 2 || list[0].Key.Shadow != "" || list[1].Key.Shadow != "app:web" {
		t.Errorf("shadows %v, %v", list, err)
	}
	if names, _, err := b.Named(ctx, op, "n", Page{Limit: 10}); err != nil || fmt.Sprint(names) != "[app:web]" {
		t.Errorf("names %v, %v", names, err)
	}
}

// A report costs what it cost without a history: one record, and not a byte more.
func TestHistory_CostsReportsNothing(t *testing.T) {
	var bytes [2]int
	for i, versions := range []int{0, 10} {
		var spy *counting
		b := open(t, vfs.NewMem(), func(c *Config) {
			spy = &counting{Store: c.Store}
			c.Store, c.History = spy, versions
		})
		k := key("t", "s")
		b.must(t, k, `{"state":{"desired":{"a":1}}}`)
		if keys, _ := spy.since(); len(keys) != 1+min(1, versions) {
			t.Errorf("with %d versions a change of desired writes %v", versions, keys)
		}
		for n := range 20 {
			b.must(t, k, fmt.Sprintf(`{"state":{"reported":{"a":%d}}}`, n))
		}
		keys, size := spy.since()
		if len(keys) != 20 {
			t.Errorf("with %d versions 20 reports wrote %d records", versions, len(keys))
		}
		bytes[i] = size
	}
	if bytes[0] != bytes[1] {
		t.Errorf("reports wrote %d bytes without a history, %d with one", bytes[0], bytes[1])
	}
}

// At replicas that write the same shadow in turns no version is missing.
func TestReplicasHistory(t *testing.T) {
	all := replicas(t, 2)
	k := key("t", "s")
	var wg sync.WaitGroup
	for w, b := range all {
		wg.Go(func() {
			for i := range 5 {
				b.must(t, k, fmt.Sprintf(`{"state":{"desired":{"w%d":%d}}}`, w, i))
			}
		})
	}
	wg.Wait()
	for _, b := range all {
		log, d, err := b.History(ctx, op, k)
		if err != nil || len(log.Entries()) != 10 || d.Version != 10 {
			t.Fatalf("%d versions of %+v, %v", len(log.Entries()), d, err)
		}
		if _, desired, err := log.At(1); err != nil || desired.Len() != 1 {
			t.Errorf("version 1: %s, %v", desired.AppendJSON(nil), err)
		}
	}
}
