package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"gnomon/schema"
	"gnomon/simulator/cloudapi"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/edgeproc"
)

// patience bounds every wait; none is expected to come near it.
const patience = 60 * time.Second

// pause between two looks at what happens in other processes.
const pause = 10 * time.Millisecond

// rig is a cloud and a node with its witnesses, to which everything is done.
type rig struct {
	cfg      Config
	cloud    *cloudproc.Cloud
	api      *cloudapi.Client
	node     *edgeproc.Node
	rootfs   string
	witness  map[string]string // start of each, by the number of the process
	pristine machine           // with the witnesses alone
}

// trial is one fault. Its methods do nothing once one has failed, so that a
// fault reads as what happens.
type trial struct {
	*rig
	ctx  context.Context //nolint:containedctx // lives as long as one fault
	err  error
	saw  []string // codes of what was in the way
	name string   // of the application that suffers
}

// reported is what a node reports of an application, as far as this looks.
type reported struct {
	Phase string `json:"phase"`
	PID   int    `json:"pid"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Blockers schema.Blockers `json:"blockers"`
	Beside   *schema.Beside  `json:"beside"`
}

// codes are what is said to be in the way.
func (r reported) codes() (all []string) {
	if r.Error != nil {
		all = append(all, r.Error.Code)
	}
	for _, b := range r.Blockers {
		all = append(all, b.Code)
	}
	return all
}

// do does something unless something failed before.
func (t *trial) do(what string, fn func() error) {
	if t.err == nil {
		if err := fn(); err != nil {
			t.err = fmt.Errorf("%s: %w", what, err)
		}
	}
}

// until waits for something.
func (t *trial) until(what string, ok func() (bool, string)) {
	if t.err != nil {
		return
	}
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		done, last := ok()
		switch {
		case done:
			return
		case t.ctx.Err() != nil:
			t.err = context.Cause(t.ctx)
			return
		case time.Now().After(deadline):
			t.err = fmt.Errorf("waited %s in vain for %s: %s", patience, what, last)
			return
		}
		<-tick.C
	}
}

// put sets what is desired of an application.
func (t *trial) put(app, desired string) {
	t.do("put "+app, func() error {
		_, err := t.api.PutApplication(t.ctx, t.node.Name, app, []byte(desired))
		return err
	})
}

// get reads an application from the cloud.
func (t *trial) get(app string) (cloudapi.Application, reported, error) {
	var r reported
	a, err := t.api.GetApplication(t.ctx, t.node.Name, app)
	if err == nil && len(a.Reported) > 0 {
		err = json.Unmarshal(a.Reported, &r)
	}
	return a, r, err
}

// converge waits until an application is as it shall be, by the word of its node
// and by the process that there is.
func (t *trial) converge(apps ...string) {
	for _, app := range apps {
		t.until(app+" to converge", func() (bool, string) {
			a, r, err := t.get(app)
			if err != nil {
				return false, err.Error()
			}
			return a.Status.Converged && r.Phase == "running" && edgeproc.Ticks(r.PID) != "", string(a.Reported)
		})
	}
}

// hear waits until a node says of an application that one of some things is in
// the way.
func (t *trial) hear(app string, codes ...string) {
	t.until(fmt.Sprintf("%s to report one of %v", app, codes), func() (bool, string) {
		a, r, err := t.get(app)
		if err != nil {
			return false, err.Error()
		}
		for _, c := range r.codes() {
			if slices.Contains(codes, c) {
				t.say(c)
				return true, ""
			}
		}
		return false, string(a.Reported)
	})
}

// hearNode waits until a node says that its store has something.
func (t *trial) hearNode(what string, ok func(s storeReport) (code string)) {
	t.until(what, func() (bool, string) {
		s, err := t.store()
		if err != nil {
			return false, err.Error()
		}
		code := ok(s)
		if code != "" {
			t.say(code)
		}
		return code != "", fmt.Sprintf("%+v", s)
	})
}

// hearSoon looks at what a node says of its disk and of the application that
// suffers, for a while.
func (t *trial) hearSoon(ok func(storeReport, reported) bool) {
	for end := time.Now().Add(2 * time.Second); t.err == nil && time.Now().Before(end); time.Sleep(pause) {
		s, err := t.store()
		_, r, err2 := t.get(t.name)
		if err == nil && err2 == nil && ok(s, r) {
			return
		}
	}
}

// store reads what a node says of its disk.
func (t *trial) store() (storeReport, error) {
	d, err := t.api.GetShadow(t.ctx, t.node.Name, "")
	if err != nil {
		return storeReport{}, err
	}
	var r struct {
		Node struct {
			Store storeReport `json:"store"`
		} `json:"node"`
	}
	err = json.Unmarshal(d.State.Reported, &r)
	return r.Node.Store, err
}

// storeReport is what a node says of its disk.
type storeReport struct {
	SetAside int `json:"setAside"`
	Error    *struct {
		Code string `json:"code"`
	} `json:"error"`
}

// say notes a code that was reported.
func (t *trial) say(code string) {
	if !slices.Contains(t.saw, code) {
		t.saw = append(t.saw, code)
	}
}

// restart replaces the agent by one with some more environment.
func (t *trial) restart(env ...string) {
	t.do("restart the agent", func() error {
		t.node.Kill()
		return t.node.Start(env...)
	})
}

// dies waits until the agent has killed itself, and starts another.
func (t *trial) dies() {
	t.do("the agent was to be killed", func() error { return t.node.Dies(t.ctx, patience) })
	t.restart()
}

// pid returns the process of an application that has converged.
func (t *trial) pid(app string) (pid int) {
	t.do("look at "+app, func() error {
		_, r, err := t.get(app)
		pid = r.PID
		return err
	})
	return pid
}

// replaced waits until an application runs as another process.
func (t *trial) replaced(app string, before int) {
	t.until(app+" to run as another process", func() (bool, string) {
		a, r, err := t.get(app)
		if err != nil {
			return false, err.Error()
		}
		return r.Phase == "running" && r.PID != before && edgeproc.Ticks(r.PID) != "" && a.Status.Converged, string(a.Reported)
	})
}

// outcome is a fault in a few words.
func (t *trial) outcome() string {
	if len(t.saw) == 0 {
		return "converged"
	}
	return "said " + strings.Join(t.saw, ", ") + "; converged"
}
