package executor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// Who was told to go gives way, whether it has gone by the time that all ends or not:
// what the one that took over has written stays.
func TestInterrupted_DismissalKeepsTheNextOnesLayer(t *testing.T) {
	t.Parallel()
	ends := map[string]func(n *node, a, b workload.Status){
		"by the power":              func(n *node, a, b workload.Status) { powerCut(n, a, b) },
		"by the power, one by one":  func(n *node, a, b workload.Status) { powerCut(n, b); powerCut(n, a) },
		"by a stop of both of them": func(n *node, a, b workload.Status) { stopped(n, b) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			stubborn := strings.Replace(remembers, `echo "$ROUND ends"; exit 0`, "", 1) // ignores SIGTERM
			s := n.spec(schema.ModeContainer, "app", stubborn)
			a, b := pair(n, s)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			dismissed := make(chan error, 1)
			go func() { dismissed <- n.Dismiss(ctx, "app", a.Instance, time.Hour) }()
			eventually(t, "the former one is told to go", func() bool {
				_, asked := instance.Dir(filepath.Join(n.data, "run/app", a.Instance)).ReadStop()
				return asked
			})
			cancel()
			if err := <-dismissed; !errors.Is(err, context.Canceled) || !alive(a.PID) {
				t.Fatalf("%v, alive %v", err, alive(a.PID))
			}
			end(n, a, b)
			n.start(round(s, 3, ""))
			knows(n, 3, 2)
			if all := layersOf(n); len(all) != 1 {
				t.Errorf("layers %q", all)
			}
		})
	}
}

// stopped stops the application at once, and checks that an instance is what is left.
func stopped(n *node, want workload.Status) {
	n.t.Helper()
	got, err := n.Stop(n.t.Context(), "app", 0)
	if err != nil || got.Instance != want.Instance || got.State.Live() || got.Next != nil {
		n.t.Errorf("stop: %+v %v, want %s", got, err, want.Instance)
	}
}

// A former instance that can't be cleared away doesn't come back when the one that
// took over ends.
func TestInterrupted_FailedDismissalKeepsTheNextOnesLayer(t *testing.T) {
	t.Parallel()
	ends := map[string]func(n *node, b workload.Status){
		"a stop":    stopped,
		"a crash":   func(n *node, b workload.Status) { killShimOf(n.t, n, b.Instance); n.await("app") },
		"the power": func(n *node, b workload.Status) { powerCut(n, b) },
	}
	for name, end := range ends {
		for _, crashes := range []bool{false, true} {
			if crashes {
				name = "the former one crashes, then " + name
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				n := newNode(t)
				s := n.spec(schema.ModeContainer, "app", remembers)
				a, b := pair(n, s)
				req, err := instance.Dir(filepath.Join(n.data, "run/app", a.Instance)).ReadRequest()
				if err != nil {
					t.Fatal(err)
				}
				busy := filepath.Join(filepath.Dir(req.Upper), "busy") // nobody can delete it
				if err := errors.Join(os.Mkdir(busy, 0o700), unix.Mount("tmpfs", busy, "tmpfs", 0, "size=4k")); err != nil {
					t.Fatal(err)
				}
				free := func() { _ = unix.Unmount(busy, unix.MNT_DETACH) }
				t.Cleanup(free)
				if crashes {
					killShimOf(t, n, a.Instance)
					eventually(t, "the other one counts", func() bool { return n.get("app").Instance == b.Instance })
				}
				if err := n.Dismiss(t.Context(), "app", a.Instance, 10*time.Second); !errors.Is(err, unix.EBUSY) {
					t.Fatal(err)
				}
				if got := n.get("app"); got.Instance != b.Instance || !got.State.Live() {
					t.Fatalf("%+v", got)
				}
				end(n, b)
				if got := n.get("app"); got.Instance != b.Instance || got.State.Live() {
					t.Errorf("%+v, want %s", got, b.Instance)
				}
				if _, err := n.Start(t.Context(), round(s, 3, "")); !errors.Is(err, unix.EBUSY) {
					t.Errorf("started beside what is left: %v", err)
				}
				free()
				n.start(round(s, 4, ""))
				knows(n, 4, 2)
				if all := layersOf(n); len(all) != 1 {
					t.Errorf("layers %q", all)
				}
			})
		}
	}
}
