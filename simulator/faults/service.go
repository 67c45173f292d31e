package faults

import (
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// bridged is an application on a network of the node's own, with a port.
func (r *rig) bridged(port, round int) string {
	return r.application("container", fmt.Sprintf(`%s,"env":{"ROUND":"%d"},"network":"bridge","ports":[{"host":%d,"container":80}],"restart":{"backoff":"200ms"}`, idle, round, port))
}

// withUpdate is an application in a mode whose new versions give way to the one
// before, if they don't last.
func (r *rig) withUpdate(mode, run string) string {
	desired := r.application(mode, run)
	return desired[:len(desired)-1] + `,"update":{"rollback":true,"healthy":"1s"}}`
}

// committed waits until what runs counts as good.
func (t *trial) committed(app string) {
	t.until(app+" to be committed", func() (bool, string) {
		a, r, err := t.get(app)
		if err != nil {
			return false, err.Error()
		}
		return a.Status.Converged && r.Phase == "running" && len(r.codes()) == 0, string(a.Reported)
	})
}

const bridgePort = 18321

// failing ends at once.
const failing = `"command":["sh","-c","exit 3"],"restart":{"backoff":"100ms","maxRetries":1}`

// serviceFaults: what applications need of the node and of each other is not
// there, or a new version of them is no good.
func serviceFaults() []fault {
	return []fault{
		{"service", "port taken", nil, func(t *trial) {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(bridgePort))
			if t.err = err; err != nil {
				return
			}
			defer l.Close()
			t.put(t.name, t.bridged(bridgePort, 0))
			t.hear(t.name, "port-taken")
			l.Close()
			t.converge(t.name)
		}},
		{"service", "bad health", nil, func(t *trial) {
			t.put(t.name, t.application("container", idle+`,"health":{"tcp":{"port":18322},"startPeriod":"1s","interval":"1s","failures":2}`))
			t.hear(t.name, "unhealthy")
			t.put(t.name, t.suffering("container", 1))
			t.converge(t.name)
		}},
		{"service", "new version ends at once, with rollback", nil, func(t *trial) {
			t.put(t.name, t.withUpdate("container", idle))
			t.committed(t.name)
			t.put(t.name, t.withUpdate("container", failing))
			t.hear(t.name, "rolled-back")
			t.until("the version before to run", func() (bool, string) {
				a, r, err := t.get(t.name)
				return err == nil && r.Phase == "running", string(a.Reported)
			})
			t.put(t.name, t.withUpdate("container", idle+`,"env":{"ROUND":"2"}`))
			t.committed(t.name)
		}},
		{"service", "rebuild of a container that others are attached to fails", nil, func(t *trial) {
			t.put("ground", t.withUpdate("container", idle))
			t.committed("ground")
			t.put(t.name, t.suffering("attach", 0))
			t.converge(t.name)
			t.put("ground", t.withUpdate("container", failing))
			t.hear("ground", "rolled-back")
			t.converge(t.name) // in the container that is back
			t.put("ground", t.withUpdate("container", idle+`,"env":{"ROUND":"2"}`))
			t.committed("ground")
			t.converge(t.name)
		}},
	}
}

// bridgeFaults: what a container on a network of the node's own has, its devices
// and its ports, goes and comes with it.
func bridgeFaults() []fault {
	return []fault{
		{"bridge", "shim killed while it holds, on a bridge", nil, func(t *trial) {
			t.put(t.name, t.bridged(bridgePort, 0))
			t.converge(t.name)
			before := t.pid(t.name)
			shim := t.shimOf(t.name)
			t.do("kill the shim", func() error { return syscall.Kill(shim, syscall.SIGKILL) })
			t.replaced(t.name, before)
		}},
		{"bridge", "agent and shim killed together, on a bridge", nil, func(t *trial) {
			t.put(t.name, t.bridged(bridgePort, 0))
			t.converge(t.name)
			before := t.pid(t.name)
			shim := t.shimOf(t.name)
			t.node.Kill()
			t.do("kill the shim", func() error { return syscall.Kill(shim, syscall.SIGKILL) })
			t.restart()
			t.replaced(t.name, before)
		}},
		{"bridge", "agent killed in the midst of a change, on a bridge", nil, func(t *trial) {
			t.put(t.name, t.bridged(bridgePort, 0))
			t.converge(t.name)
			t.restart(arm("step.start.before=kill"))
			t.put(t.name, t.bridged(bridgePort, 1))
			t.dies()
			t.converge(t.name)
		}},
	}
}
