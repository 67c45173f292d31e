package faults

import (
	"fmt"

	"gnomon/edge/failpoint"
)

// users is an application with users of its own, and something to keep.
func (r *rig) users(round int) string {
	return r.application("container", fmt.Sprintf(
		`"command":["sh","-c","touch /srv/kept/%d && exec sleep 100000000"],"userNamespace":"auto","volumes":[{"path":"/srv/kept","name":"kept"}],"env":{"ROUND":"%d"},"restart":{"backoff":"200ms"}`, round, round))
}

// onePool gives the node users for one container.
const onePool = "GNOMON_SUBIDS=1900000000:65536"

// usersFaults: what happens while containers have users of their own.
func usersFaults() []fault {
	p := failpoint.RangeTaken
	return []fault{
		{"users", fmt.Sprintf("agent killed at %s", p), []failpoint.Point{p}, func(t *trial) {
			t.restart(arm(string(p) + "=kill"))
			t.put(t.name, t.users(0))
			t.dies()
			t.converge(t.name)
		}},
		{"users", fmt.Sprintf("%s fails", p), []failpoint.Point{p}, func(t *trial) {
			t.restart(arm(string(p) + "=error@1"))
			t.put(t.name, t.users(0))
			t.hear(t.name, "start-failed")
			t.converge(t.name)
		}},
		{"users", "agent killed at " + string(p) + ", and never wanted again", []failpoint.Point{p}, func(t *trial) {
			t.restart(arm(string(p) + "=kill"))
			t.put(t.name, t.users(0))
			t.do("die", func() error { return t.node.Dies(t.ctx, patience) })
			t.take(t.name)
			t.restart()
		}},
		{"users", "all ranges of users taken", nil, func(t *trial) {
			t.restart(onePool)
			t.put("ground", t.users(0))
			t.converge("ground")
			t.put(t.name, t.users(0))
			t.hear(t.name, "subids-exhausted")
			t.take("ground")
			t.converge(t.name)
			t.restart()
		}},
		{"users", "shim killed with the root mounted, own users", []failpoint.Point{failpoint.ShimMounted}, func(t *trial) {
			t.put(t.name, t.users(0))
			t.converge(t.name)
			t.restart(arm(string(failpoint.ShimMounted) + "=kill"))
			t.put(t.name, t.users(1))
			t.hear(t.name, "start-failed", "lost")
			t.restart()
			t.converge(t.name)
		}},
	}
}
