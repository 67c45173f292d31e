package executor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/edge/workload/cgroup"
	"gnomon/schema"
)

// bound reads a limit of a group where it is in force; 0: there is none, or no group.
func bound(t *testing.T, g cgroup.Group, files ...string) int64 {
	t.Helper()
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hierarchies {
		for _, f := range files {
			if b, err := os.ReadFile(filepath.Join(h.Mount, g.Path(), f)); err == nil {
				n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
				return n
			}
		}
	}
	return 0
}

// bounded waits until the limits in force are those of a Spec.
func (n *node) bounded(name string, want schema.Resources) {
	n.t.Helper()
	g := n.group(name)
	eventually(n.t, "the limits of "+name+" are its own", func() bool {
		return bound(n.t, g, "pids.max") == want.Pids && bound(n.t, g, "memory.limit_in_bytes", "memory.max") == int64(want.Memory)
	})
}

// tight are limits that an application of one process can live in, and nothing else.
var tight = schema.Resources{Pids: 2, Memory: schema.MinMemory}

// What it takes to get into a container is not taken from the application: neither
// does that fail at its limits, nor does the application feel it.
func TestExec_BringsItsOwnRoom(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s, tight := spec(sleeper), tight
		if s.Mode == schema.ModeHost {
			tight.Pids = 8 // there who comes in counts from the first
		}
		s.Resources = tight
		st := n.start(s)
		for i := range 5 {
			if said, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"true"}); err != nil || status != 0 {
				t.Errorf("time %d: said %q, status %d, %v", i, said, status, err)
			}
		}
		n.bounded("app", tight)
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				if said, status, err := n.Exec(t.Context(), "app", st.Instance, []string{"true"}); err != nil || status != 0 {
					t.Errorf("at once with others, %d: said %q, status %d, %v", i, said, status, err)
				}
			})
		}
		all.Wait()
		n.bounded("app", tight)
		for i := range 12 { // also whenever it is broken off
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*8*time.Millisecond)
			if _, _, err := n.Exec(ctx, "app", st.Instance, []string{"sleep", "1000"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("time %d: %v", i, err)
			}
			cancel()
		}
		n.alone(st)
		n.bounded("app", tight)
		if got := n.get("app"); got.PID != st.PID || got.State != workload.Running {
			t.Errorf("the application: %+v", got)
		}
		if kills := n.group("app").OOMKills(); kills != 0 {
			t.Errorf("%d were killed for memory", kills)
		}
	})
}

// What is attached to a container is within its limits, which give way for it, too.
func TestExec_BringsRoomToTheContainer(t *testing.T) {
	t.Parallel()
	for _, users := range []schema.UserNamespace{schema.UserNamespaceHost, schema.UserNamespaceAuto} {
		t.Run(string(users), func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			target := n.spec(schema.ModeContainer, "target", sleeper)
			target.Resources, target.UserNamespace = schema.Resources{Pids: 3, Memory: 2 * schema.MinMemory}, users
			was := n.start(target)
			s := n.spec(schema.ModeAttach, "app", sleeper)
			s.Resources = tight
			st := n.start(s)
			n.bounded("target", target.Resources)
			var all sync.WaitGroup
			for i := range 6 {
				all.Go(func() {
					name, instance := "app", st.Instance
					if i%2 == 0 {
						name, instance = "target", was.Instance
					}
					if said, status, err := n.Exec(t.Context(), name, instance, []string{"true"}); err != nil || status != 0 {
						t.Errorf("%d, of %s: said %q, status %d, %v", i, name, said, status, err)
					}
				})
			}
			all.Wait()
			n.bounded("app", tight)
			n.bounded("target", target.Resources)
			if kills := n.group("target").OOMKills() + n.group("app").OOMKills(); kills != 0 {
				t.Errorf("%d were killed for memory", kills)
			}
			for name, before := range map[string]workload.Status{"target": was, "app": st} {
				if got := n.get(name); got.PID != before.PID {
					t.Errorf("%s: %+v", name, got)
				}
			}
		})
	}
}

// Whoever is on the way into an instance that ends does nothing to the next one's
// limits.
func TestExec_LeavesTheNextOneAlone(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec(sleeper)
		s.Resources = tight
		for i := range 6 {
			st := n.start(s)
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() { _, _, _ = n.Exec(t.Context(), "app", st.Instance, []string{"true"}) })
			}
			time.Sleep(time.Duration(i) * 5 * time.Millisecond) // somewhere on its way
			if _, err := n.Stop(t.Context(), "app", 0); err != nil {
				t.Fatal(err)
			}
			next := spec(sleeper)
			next.Resources = schema.Resources{Pids: 40, Memory: 32 << 20}
			n.start(next)
			all.Wait()
			n.bounded("app", next.Resources)
			if _, err := n.Stop(t.Context(), "app", 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}
