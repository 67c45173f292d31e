package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gnomon/simulator/cloudapi"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/edgeproc"
	"gnomon/simulator/figures"
)

// diskSize is that of the node.
const diskSize = 64 << 20

// Config of a run.
type Config struct {
	Cloud   cloudproc.Config
	Agent   string // gnomon-edge
	Shim    string // gnomon-shim
	Busybox string // static
	Dir     string // scratch; removed by whoever made it

	Seed  uint64
	Short bool           // one fault of each kind, chosen by the seed
	Only  *regexp.Regexp // faults to run; nil: all
	Done  func(Result)   // called after each; may be nil
}

// Result is what came of one fault.
type Result struct {
	Fault   string        `json:"fault"`
	Outcome string        `json:"outcome"`
	Took    time.Duration `json:"took"` // from the fault until all was as it shall be
	Error   string        `json:"error,omitempty"`
}

// Report is what a run found.
type Report struct {
	Seed    uint64          `json:"seed"`
	Results []Result        `json:"results"`
	Failed  int             `json:"failed"`
	Seconds float64         `json:"seconds"`
	Machine figures.Machine `json:"machine"`
}

// OK reports whether every fault was survived.
func (r *Report) OK() bool { return len(r.Results) > 0 && r.Failed == 0 }

// Run does everything to one node. The error says that it could not be done; the
// report, which is never nil, what was found.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	before, began := figures.ReadCPUTime(), time.Now()
	report := &Report{Seed: cfg.Seed}
	defer func() {
		report.Machine, report.Seconds = figures.Describe(before), time.Since(began).Round(10*time.Millisecond).Seconds()
	}()
	r, err := newRig(ctx, cfg)
	if err == nil {
		err = r.run(ctx, report)
	}
	return report, errors.Join(err, r.close())
}

// newRig starts everything. What it returns has to be closed, also after an error.
func newRig(ctx context.Context, cfg Config) (*rig, error) {
	r := &rig{cfg: cfg, rootfs: filepath.Join(cfg.Dir, "rootfs")}
	if err := errors.Join(edgeproc.Rootfs(r.rootfs, cfg.Busybox), r.makePackages()); err != nil {
		return r, err
	}
	var err error
	if r.api, err = cloudapi.New(cloudapi.Options{Base: "http://" + cfg.Cloud.HTTP}); err != nil {
		return r, err
	}
	if err := r.startCloud(ctx); err != nil {
		return r, err
	}
	if r.node, err = edgeproc.New(edgeproc.Config{Agent: cfg.Agent, Shim: cfg.Shim, Cloud: cfg.Cloud.MQTT, Dir: cfg.Dir, Disk: diskSize}); err != nil {
		return r, err
	}
	return r, r.settle(ctx)
}

// startCloud starts a cloud. If it can't, the one before stays, which is no more.
func (r *rig) startCloud(ctx context.Context) error {
	cloud, err := cloudproc.Start(r.cfg.Cloud)
	if err != nil {
		return err
	}
	r.cloud = cloud
	return cloud.Ready(ctx)
}

// settle brings the witnesses up, which is what everything is compared with.
func (r *rig) settle(ctx context.Context) error {
	t := &trial{rig: r, ctx: ctx}
	t.restart()
	all := r.witnesses()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.put(name, all[name])
	}
	t.baseline()
	return t.err
}

// baseline notes who the witnesses are, and what the machine is with them alone.
func (t *trial) baseline() {
	names := slices.Sorted(maps.Keys(t.witnesses()))
	t.converge(names...)
	var records []string
	for _, name := range names {
		for _, kind := range []string{"desired", "outbox", "plan"} {
			records = append(records, kind+"-app%3a"+name)
		}
	}
	t.written(append(records, "node-epoch", "outbox-%classic"))
	t.do("look at the witnesses", func() error {
		t.rig.witness = map[string]string{}
		for _, name := range names {
			_, r, err := t.get(name)
			if err != nil {
				return err
			}
			t.rig.witness[name] = fmt.Sprintf("%d since %s", r.PID, edgeproc.Ticks(r.PID))
		}
		var err error
		t.pristine, err = observe(t.node)
		return err
	})
}

func (r *rig) close() error {
	if r.cloud != nil {
		r.cloud.Kill()
	}
	if r.node == nil {
		return nil
	}
	return r.node.Remove()
}

// run goes through the matrix.
func (r *rig) run(ctx context.Context, report *Report) error {
	for _, f := range wanted(r.cfg) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		result := r.try(ctx, f)
		report.Results = append(report.Results, result)
		if r.cfg.Done != nil {
			r.cfg.Done(result)
		}
		if result.Error == "" {
			continue
		}
		report.Failed++
		// Whatever it is, the next fault starts from a node that is well.
		if err := r.recover(ctx); err != nil {
			return fmt.Errorf("after %s: %w", f.name, err)
		}
	}
	return nil
}

// try does one fault and judges what came of it.
func (r *rig) try(ctx context.Context, f fault) Result {
	t := &trial{rig: r, ctx: ctx, name: "victim"}
	began := time.Now()
	f.run(t)
	result := Result{Fault: f.name, Took: time.Since(began).Round(time.Millisecond), Outcome: t.outcome()}
	t.judge()
	if t.err != nil {
		result.Outcome, result.Error = "FAILED", t.err.Error()
	}
	return result
}

// judge looks at the witnesses, takes away what suffered, and looks for what is
// left over.
func (t *trial) judge() {
	for _, name := range slices.Sorted(maps.Keys(t.witness)) {
		t.until("the word of "+name, func() (bool, string) {
			a, r, err := t.get(name)
			if err != nil {
				return false, err.Error()
			}
			return a.Status.Converged && r.Phase == "running" && r.PID > 0, string(a.Reported)
		})
		t.do(name, func() error {
			_, r, err := t.get(name)
			if now := fmt.Sprintf("%d since %s", r.PID, edgeproc.Ticks(r.PID)); err == nil && now != t.witness[name] {
				return fmt.Errorf("it was process %s and is %s", t.witness[name], now)
			}
			return err
		})
	}
	for _, name := range []string{t.name, "ground"} {
		t.take(name)
	}
	t.until("nothing to be left over", func() (bool, string) {
		now, err := observe(t.node)
		if err != nil {
			return false, err.Error()
		}
		left := t.pristine.differences(now)
		return len(left) == 0, strings.Join(left, "; ")
	})
}

// take removes an application, if it is there.
func (t *trial) take(name string) {
	t.do("remove "+name, func() error {
		var status *cloudapi.StatusError
		if err := t.api.DeleteApplication(t.ctx, t.node.Name, name); errors.As(err, &status) && status.Status == 404 {
			return nil
		} else if err != nil {
			return err
		}
		return nil
	})
}

// recover makes a node that is well out of whatever a fault that was not
// survived has left.
func (r *rig) recover(ctx context.Context) error {
	if err := r.node.PowerCut(); err != nil {
		return err
	}
	for _, dir := range []string{"state", "run", "apps", "subids"} {
		if err := os.RemoveAll(filepath.Join(r.node.Data, dir)); err != nil {
			return err
		}
	}
	select {
	case <-r.cloud.Exited():
		if err := r.startCloud(ctx); err != nil {
			return err
		}
	default:
	}
	t := &trial{rig: r, ctx: ctx, name: "victim"}
	for _, name := range []string{"victim", "ground"} {
		t.take(name)
	}
	if t.err != nil {
		return t.err
	}
	return r.settle(ctx)
}
