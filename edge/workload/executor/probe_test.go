package executor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// A program that probes an application is one of the application: it has its
// environment, sees what it sees, and is over when its time is.
func TestHealth_Exec(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			s := newStation(t)
			if mode == schema.ModeAttach {
				s.runs("target", s.want("target", s.document(schema.ModeContainer, "trap 'exit 0' TERM; while true; do sleep 0.05; done", nil)))
			}
			probed := func(script, timeout string) map[string]any {
				return s.document(mode, "trap 'exit 0' TERM; while true; do sleep 0.05; done", map[string]any{
					"env": map[string]string{"WORD": "open"}, "restart": map[string]any{"policy": "never"},
					"health": map[string]any{
						"exec": map[string]any{"command": []string{"sh", "-c", script}}, "timeout": timeout,
						"interval": "1s", "startPeriod": "1s", "failures": 2,
					},
				})
			}
			s.want("app", probed(`[ "$WORD" = open ]`, "10s"))
			s.says("app", "that it is healthy", func(r report) bool { return r.text("health") == "healthy" })
			was := s.get("app").PID
			s.want("app", probed(`echo door shut >&2; exit 3`, "10s"))
			s.says("app", "why it is not", func(r report) bool {
				return r.text("health") == "unhealthy" && strings.Contains(string(r.AppendJSON(nil)), "sh: exit status 3: door shut")
			})
			s.want("app", probed(`sleep 1000 & sleep 1000`, "300ms"))
			s.says("app", "that its probe doesn't end", func(r report) bool {
				return r.text("health") == "unhealthy" && strings.Contains(string(r.AppendJSON(nil)), "no answer within 300ms")
			})
			s.want("app", probed(`exit 0`, "10s"))
			s.says("app", "that it is healthy again", func(r report) bool { return r.text("health") == "healthy" })
			if now := s.get("app").PID; now != was {
				t.Errorf("another probe is no reason to start it again: %d, then %d", was, now)
			}
			g := s.group("app")
			eventually(t, "no probe is left", func() bool {
				pids, err := g.Pids()
				return err == nil && len(pids) <= 2 // the application, and the sleep that it is in
			})
		})
	}
}

// What can't be run is told from what failed.
func TestExec(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		st := n.start(spec("trap 'exit 0' TERM; while true; do sleep 0.05; done"))
		ctx := context.Background()
		said, status, err := n.Exec(ctx, "app", st.Instance, []string{"sh", "-c", "echo $GNOMON_APP; exit 7"})
		if err != nil || status != 7 || strings.TrimSpace(said) != "app" {
			t.Errorf("said %q, status %d, %v", said, status, err)
		}
		if _, _, err := n.Exec(ctx, "app", st.Instance, []string{"/no/such"}); err == nil || !strings.Contains(err.Error(), "/no/such") {
			t.Errorf("no such program: %v", err)
		}
		if _, _, err := n.Exec(ctx, "app", "another", []string{"sh"}); !errors.Is(err, workload.ErrNotFound) {
			t.Errorf("no such instance: %v", err)
		}
		said, status, err = n.Exec(ctx, "app", st.Instance, []string{"sh", "-c", "while true; do echo again and again; done | head -n 100000"})
		if err != nil || status != 0 || len(said) != 1<<10 {
			t.Errorf("%d bytes kept, status %d, %v", len(said), status, err)
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, _, err := n.Exec(short, "app", st.Instance, []string{"sh", "-c", "sleep 1000 & sleep 1000"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beyond its time: %v", err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Error(fmt.Sprint("it took ", took))
		}
		g := n.group("app")
		eventually(t, "nothing of it is left", func() bool {
			pids, err := g.Pids()
			return err == nil && len(pids) <= 2
		})
	})
}
