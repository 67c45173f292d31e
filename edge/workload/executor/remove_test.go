package executor_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// Somebody lists all the time: that must not put anything into a directory that
// is being removed.
func TestRemove_WhileListed(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	var lister sync.WaitGroup
	for range 4 {
		lister.Go(func() {
			for ctx.Err() == nil {
				if _, err := n.List(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		n.start(workload.Spec{Name: "app", Mode: schema.ModeHost, Hash: "h", Command: []string{"/bin/sleep", "1000"}})
		killShim(t, n, "app")
		if err := n.Remove(ctx, "app"); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(n.data, "run", "app")); err == nil {
			t.Error("something is left")
		}
	}
	cancel()
	lister.Wait()
}

// What a start or a removal that was cut off leaves is listed, so that it can be
// removed.
func TestList_LeftOver(t *testing.T) {
	n := newNode(t)
	if err := os.MkdirAll(filepath.Join(n.data, "run", "app", "0123456789ab"), 0o755); err != nil {
		t.Fatal(err)
	}
	if st := n.get("app"); st.State != workload.Failed || st.Error == "" {
		t.Errorf("listed as %+v", st)
	}
	if err := n.Remove(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	if st := n.get("app"); st.Name != "" {
		t.Errorf("still listed as %+v", st)
	}
}
