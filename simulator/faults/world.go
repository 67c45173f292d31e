package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gnomon/edge/failpoint"
	"gnomon/simulator/edgeproc"
)

// killedBy waits until the agent has killed itself, or has nothing left to do:
// the application that suffers has converged, and that has been written.
func (t *trial) killedBy() (killed bool) {
	const writing = 1500 * time.Millisecond // the outbox is written a second after it changed
	var quiet time.Time
	t.until("the agent to be killed or to have nothing left to do", func() (bool, string) {
		select {
		case <-t.node.Exited():
			killed = true
			return true, ""
		default:
		}
		a, r, err := t.get(t.name)
		if err != nil || !a.Status.Converged || r.Phase != "running" {
			quiet = time.Time{}
			return false, string(a.Reported)
		}
		if quiet.IsZero() {
			quiet = time.Now()
		}
		return time.Since(quiet) > writing, ""
	})
	if killed {
		t.do("the agent", func() error { return t.node.Dies(t.ctx, patience) })
	}
	return killed
}

// killed kills the main process of the application that suffers, and waits for
// another.
func (t *trial) killed(pid int) {
	t.do("kill a process", func() error {
		if pid <= 1 {
			return fmt.Errorf("there is no process %d", pid)
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	})
	t.replaced(t.name, pid)
}

// shimOf finds the shim of an application.
func (t *trial) shimOf(app string) (pid int) {
	t.do("find the shim of "+app, func() error {
		for text, p := range t.node.Processes() {
			if strings.Contains(text, "gnomon-shim") && strings.Contains(text, "/run/"+app+"/") {
				pid = p
				return nil
			}
		}
		return errors.New("there is none")
	})
	return pid
}

// processFaults: processes are killed while everything is well.
func processFaults() (all []fault) {
	for _, mode := range modes {
		all = append(all, fault{"shim killed, running", "shim killed while it holds, " + mode, nil, func(t *trial) {
			t.sufferer(mode)
			before := t.pid(t.name)
			shim := t.shimOf(t.name)
			t.do("kill the shim", func() error { return syscall.Kill(shim, syscall.SIGKILL) })
			t.replaced(t.name, before)
			t.until("the former process to be gone", func() (bool, string) { return edgeproc.Ticks(before) == "", "" })
		}}, fault{"main process killed", "main process killed, " + mode, nil, func(t *trial) {
			t.sufferer(mode)
			t.killed(t.pid(t.name))
		}}, fault{"all at once", "agent and shim killed together, " + mode, nil, func(t *trial) {
			t.sufferer(mode)
			before := t.pid(t.name)
			shim := t.shimOf(t.name)
			t.node.Kill()
			t.do("kill the shim", func() error { return syscall.Kill(shim, syscall.SIGKILL) })
			t.restart()
			t.replaced(t.name, before)
		}})
	}
	return append(all, fault{"target killed", "the container that others are attached to is killed", nil, func(t *trial) {
		t.sufferer("attach")
		before := t.pid(t.name)
		ground := t.pid("ground")
		t.do("kill the container", func() error { return syscall.Kill(ground, syscall.SIGKILL) })
		t.replaced("ground", ground)
		t.replaced(t.name, before)
	}})
}

// limitFaults: applications want more than they may have.
func limitFaults() (all []fault) {
	const pids = 16
	for _, mode := range modes {
		all = append(all, fault{"out of memory", "memory limit exceeded, " + mode, nil, func(t *trial) {
			t.sufferer(mode)
			t.put(t.name, t.application(mode, `"command":["sh","-c","x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"],"resources":{"memory":"16Mi"},"restart":{"policy":"never"}`))
			t.hear(t.name, "out-of-memory")
			t.put(t.name, t.suffering(mode, 1))
			t.converge(t.name)
		}})
	}
	for _, mode := range modes {
		all = append(all, fault{"fork bomb", "fork bomb, " + mode, nil, func(t *trial) {
			t.sufferer(mode)
			t.put(t.name, t.application(mode, fmt.Sprintf(`"command":["sh","-c","b() { b | b & b; }; b"],"resources":{"pids":%d},"restart":{"backoff":"200ms","backoffMax":"200ms"}`, pids)))
			most := 0
			until := time.Now().Add(time.Second)
			t.until("the bomb to go off", func() (bool, string) {
				n := below(t.node, t.name)
				most = max(most, n)
				return time.Now().After(until) && most > 2, fmt.Sprintf("%d processes", most)
			})
			t.do("count processes", func() error {
				if most > pids {
					return fmt.Errorf("%d processes, at most %d are allowed", most, pids)
				}
				return nil
			})
			t.put(t.name, t.suffering(mode, 1))
			t.converge(t.name)
		}})
	}
	return append(all, fault{"log flood", "output without end", nil, func(t *trial) {
		t.put(t.name, t.application("host", `"command":["sh","-c","while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done"]`))
		t.converge(t.name)
		logs := filepath.Join(t.node.Data, "logs", t.name+".log")
		t.until("the log to be rotated twice", func() (bool, string) { _, err := os.Stat(logs + ".2"); return err == nil, "" })
		t.do("look at the logs", func() error {
			var size int64
			found, err := filepath.Glob(logs + "*")
			for _, path := range found {
				if st, err := os.Stat(path); err == nil {
					size += st.Size()
				}
			}
			if size > 4<<20 {
				return fmt.Errorf("%d bytes in %v", size, found)
			}
			return err
		})
		t.put(t.name, t.suffering("host", 1))
		t.converge(t.name)
	}})
}

// below counts the processes in the cgroups of an application.
func below(n *edgeproc.Node, app string) int {
	most := 0
	for _, dir := range n.Groups() {
		if !strings.HasSuffix(dir, "/"+app) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err == nil {
			most = max(most, len(strings.Fields(string(b))))
		}
	}
	return most
}

// componentFaults: what an application runs from is missing or broken.
func componentFaults() []fault {
	// instead changes the application that suffers to one that can't be, which
	// leaves the one that runs alone, and then puts it right.
	instead := func(t *trial, desired string, right func(), codes ...string) {
		t.sufferer("container")
		before := t.pid(t.name)
		t.put(t.name, desired)
		t.hear(t.name, codes...)
		t.do("look at what runs", func() error {
			if edgeproc.Ticks(before) == "" {
				return errors.New("it was ended though nothing could replace it")
			}
			return nil
		})
		right()
		t.replaced(t.name, before)
	}
	return []fault{
		{"component", "missing image", nil, func(t *trial) {
			late := filepath.Join(t.cfg.Dir, "late")
			defer func() { _ = os.Remove(late) }()
			instead(t, fmt.Sprintf(`{"component":"file://%s","mode":"container","run":{%s}}`, late, idle), func() {
				t.do("bring the image", func() error { return os.Symlink(t.rootfs, late) })
			}, "component-not-found")
		}},
		{"component", "image cut short, and then right", nil, func(t *trial) {
			image := filepath.Join(t.cfg.Dir, "image.tar")
			defer func() { _ = os.Remove(image) }()
			t.do("write half an image", func() error { return archive(image, t.rootfs, true) })
			instead(t, fmt.Sprintf(`{"component":"file://%s","mode":"container","run":{%s}}`, image, idle), func() {
				t.do("write an image", func() error { return archive(image, t.rootfs, false) })
			}, "component-unusable", "fetch-failed")
		}},
		{"component", "new version has no such program", nil, func(t *trial) {
			t.sufferer("container")
			t.put(t.name, t.application("container", `"command":["/no/such/program"]`))
			t.hear(t.name, "invalid")
			t.put(t.name, t.suffering("container", 1))
			t.converge(t.name)
		}},
		{"component", "new version ends at once", nil, func(t *trial) {
			t.sufferer("container")
			t.put(t.name, t.application("container", `"command":["sh","-c","exit 3"],"restart":{"backoff":"100ms","maxRetries":2}`))
			t.hear(t.name, "retries-exhausted")
			t.put(t.name, t.suffering("container", 1))
			t.converge(t.name)
		}},
	}
}

// powerFaults: everything on the node is gone at once, at some moment of a change.
func powerFaults(random *rand.Rand) (all []fault) {
	for n := range 4 {
		mode, after := modes[n%len(modes)], time.Duration(random.IntN(150))*time.Millisecond
		all = append(all, fault{"power cut", fmt.Sprintf("power cut %s into a change, %s", after, mode), nil, func(t *trial) {
			t.sufferer(mode)
			t.put(t.name, t.suffering(mode, 1))
			time.Sleep(after) // the moment is what is random
			t.do("power cut", t.node.PowerCut)
			t.restart()
			t.converge(t.name)
			t.anew()
		}})
	}
	return append(all, fault{"power cut", "power cut without a cloud", nil, func(t *trial) {
		t.sufferer("container")
		want := len(t.node.Processes())
		t.cloud.Kill()
		t.do("power cut", t.node.PowerCut)
		t.restart()
		t.until("everything to come back from disk", func() (bool, string) {
			n := len(t.node.Processes())
			return n == want, fmt.Sprintf("%d of %d processes", n, want)
		})
		t.do("start the cloud", func() error { return t.startCloud(t.ctx) })
		t.converge(t.name)
		t.anew()
	}}, fault{"power cut", "agent killed again and again as it starts", []failpoint.Point{failpoint.StateDone}, func(t *trial) {
		t.sufferer("container")
		for range 5 {
			t.restart(arm(string(failpoint.StateDone) + "=kill@1"))
			t.do("the agent was to be killed", func() error { return t.node.Dies(t.ctx, patience) })
		}
		t.restart()
		t.converge(t.name)
	}})
}

// anew takes the witnesses of a node that was without power for new: they are
// other processes of the same applications. Nothing else may be there.
func (t *trial) anew() {
	old := t.pristine
	t.converge("witness", "witness-attached", "witness-host")
	t.take(t.name)
	t.take("ground")
	t.until("nothing to be left over", func() (bool, string) {
		now, err := observe(t.node)
		if err != nil {
			return false, err.Error()
		}
		if len(now["process"]) != len(old["process"]) {
			return false, fmt.Sprintf("processes %v", now["process"])
		}
		now["process"] = old["process"]
		left := old.differences(now)
		return len(left) == 0, strings.Join(left, "; ")
	})
	t.baseline()
}
