package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"gnomon/simulator/cloudapi"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/figures"
)

// Config of an experiment.
type Config struct {
	Cloud    cloudproc.Config
	Kills    int           // SIGKILLs in all
	Updaters int           // half of them over MQTT, half over REST
	Seed     uint64        // of every random choice
	Uptime   time.Duration // longest time under load before a kill; default 1 s
	Pause    time.Duration // mean pause of an updater between two writes; default none
	Ready    time.Duration // longest a start may take; default 30 s
	Kill     func(n int)   // called after each kill, for progress; may be nil
}

func (c Config) withDefaults() Config {
	if c.Uptime == 0 {
		c.Uptime = time.Second
	}
	if c.Ready == 0 {
		c.Ready = 30 * time.Second
	}
	if c.Kill == nil {
		c.Kill = func(int) {}
	}
	return c
}

// ErrConfig means that the experiment cannot be carried out as asked.
var ErrConfig = errors.New("crash experiment")

func (c Config) validate() error {
	switch {
	case c.Kills < 1 || c.Kills > 10_000:
		return fmt.Errorf("%w: kills is %d, it must be 1 to 10000", ErrConfig, c.Kills)
	case c.Updaters < 2 || c.Updaters > 5000:
		return fmt.Errorf("%w: updaters is %d, it must be 2 to 5000", ErrConfig, c.Updaters)
	case c.Uptime < time.Millisecond || c.Uptime > time.Hour:
		return fmt.Errorf("%w: uptime is %s, it must be 1ms to 1h", ErrConfig, c.Uptime)
	case c.Pause < 0 || c.Pause > time.Minute:
		return fmt.Errorf("%w: pause is %s, it must be 0 to 1m", ErrConfig, c.Pause)
	}
	return nil
}

// startKills is the share of kills that hit the cloud while it is starting.
const startKills = 0.2

// Report is what an experiment found.
type Report struct {
	Experiment string          `json:"experiment"`
	Complete   bool            `json:"complete"` // all kills done and the end judged
	Seed       uint64          `json:"seed"`
	Updaters   int             `json:"updaters"`
	Shadows    int             `json:"shadows"`
	Kills      int             `json:"kills"`
	WhileStart int             `json:"killsWhileStarting"`
	Writes     Counts          `json:"writes"`
	Versions   uint64          `json:"versions"` // sum over the shadows at the end
	Recovery   figures.Latency `json:"recovery"` // from the start of the process to /readyz
	Seconds    float64         `json:"seconds"`
	Violated   int             `json:"violated"`
	Violations []string        `json:"violations"`
	Machine    figures.Machine `json:"machine"`
}

// OK reports whether every promise held to the end.
func (r *Report) OK() bool { return r.Complete && r.Violated == 0 }

// experiment is one run.
type experiment struct {
	cfg      Config
	random   *rand.Rand
	ledger   *Ledger
	api      *cloudapi.Client
	recovery []time.Duration
	report   Report
}

// Run runs the experiment. The error says that it could not be carried out;
// what it found is in the report, which is never
// nil.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return &Report{}, err
	}
	api, err := cloudapi.New(cloudapi.Options{Base: "http://" + cfg.Cloud.HTTP, Connections: cfg.Updaters + 8, Timeout: stall})
	if err != nil {
		return &Report{}, err
	}
	defer api.Close()
	x := &experiment{cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 0)), ledger: NewLedger(), api: api}
	before, began := figures.ReadCPUTime(), time.Now()
	err = x.run(ctx)
	r := &x.report
	r.Experiment, r.Seed, r.Updaters, r.Shadows = "crash", cfg.Seed, cfg.Updaters, len(x.ledger.Shadows())
	r.Writes, r.Violations, r.Violated = x.ledger.Result()
	r.Recovery, r.Machine = figures.Summarise(x.recovery), figures.Describe(before)
	r.Seconds = time.Since(began).Round(10 * time.Millisecond).Seconds()
	if err != nil {
		return r, fmt.Errorf("crash experiment, seed %d: %w", cfg.Seed, err)
	}
	r.Complete = true
	return r, nil
}

func (x *experiment) run(ctx context.Context) error {
	writing, stop := context.WithCancel(ctx)
	var updaters sync.WaitGroup
	defer updaters.Wait()
	defer stop()
	for i := range x.cfg.Updaters {
		u := &updater{slot: slot(i, x.cfg.Updaters), ledger: x.ledger, pause: x.cfg.Pause, random: rand.New(rand.NewPCG(x.cfg.Seed, uint64(i)+1))}
		updaters.Go(func() {
			if i%2 == 0 {
				u.overMQTT(writing, x.cfg.Cloud.MQTT)
			} else {
				u.overREST(writing, x.api)
			}
		})
	}
	for x.report.Kills < x.cfg.Kills {
		if err := x.life(ctx); err != nil {
			return err
		}
		x.report.Kills++
		x.cfg.Kill(x.report.Kills)
	}
	stop()
	// The dead process answers nobody, so the updaters end at once.
	updaters.Wait()
	return x.end(ctx)
}

// slot spreads updaters over shadows: four fifths of them in groups of four, two
// over MQTT and two over REST, to a shadow; the others have one to themselves.
// Devices report, operators desire. Classic and named shadows take turns.
func slot(i, updaters int) Slot {
	s := Slot{Section: "reported", Index: uint32(i)}
	if i%2 == 1 {
		s.Section = "desired"
	}
	group := i / 4
	if i < updaters*4/5 {
		s.Shadow.Thing = "crash-shared-" + strconv.Itoa(group)
	} else {
		s.Shadow.Thing = "crash-own-" + strconv.Itoa(i)
		group = i / 2
	}
	if group%2 == 1 {
		s.Shadow.Name = "named"
	}
	return s
}

// life starts the cloud, checks what it holds, lets it work and kills it.
func (x *experiment) life(ctx context.Context) error {
	floor := x.ledger.Floor()
	began := time.Now()
	cloud, err := cloudproc.Start(x.cfg.Cloud)
	if err != nil {
		return err
	}
	defer cloud.Kill()
	if x.report.Kills > 0 && x.random.Float64() < startKills {
		x.report.WhileStart++
		return sleep(ctx, time.Duration(x.random.Int64N(int64(60*time.Millisecond))))
	}
	if err := x.ready(ctx, cloud, began); err != nil {
		return err
	}
	held, err := x.documents(ctx)
	if err != nil {
		return err
	}
	x.ledger.Judge(floor, held)
	if err := x.progress(ctx, cloud); err != nil {
		return err
	}
	return sleep(ctx, time.Duration(x.random.Int64N(int64(x.cfg.Uptime))))
}

func (x *experiment) ready(ctx context.Context, cloud *cloudproc.Cloud, began time.Time) error {
	limited, cancel := context.WithTimeout(ctx, x.cfg.Ready)
	defer cancel()
	if err := cloud.Ready(limited); err != nil {
		return fmt.Errorf("after %d kills: %w", x.report.Kills, err)
	}
	x.recovery = append(x.recovery, time.Since(began))
	return nil
}

// progress waits until writes are acknowledged again, so that a kill hits work.
func (x *experiment) progress(ctx context.Context, cloud *cloudproc.Cloud) error {
	want := x.ledger.Acknowledged() + x.cfg.Updaters/2 + 1
	deadline := time.Now().Add(x.cfg.Ready)
	for x.ledger.Acknowledged() < want {
		if time.Now().After(deadline) {
			return fmt.Errorf("after %d kills: fewer than %d writes acknowledged within %s: %s", x.report.Kills, x.cfg.Updaters/2+1, x.cfg.Ready, cloud.LogTail())
		}
		select {
		case <-cloud.Exited():
			return fmt.Errorf("after %d kills: %w: %s", x.report.Kills, cloudproc.ErrExited, cloud.LogTail())
		default:
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// end judges what is held once nobody writes, and that versions go on from it.
func (x *experiment) end(ctx context.Context) error {
	began := time.Now()
	cloud, err := cloudproc.Start(x.cfg.Cloud)
	if err != nil {
		return err
	}
	defer cloud.Kill()
	if err := x.ready(ctx, cloud, began); err != nil {
		return err
	}
	held, err := x.documents(ctx)
	if err != nil {
		return err
	}
	x.ledger.JudgeEnd(held)
	for s, d := range held {
		x.report.Versions += d.Version
		a, err := x.api.UpdateShadow(ctx, s.Thing, s.Name, []byte(`{"state":{"desired":{"end":true}}}`))
		if err != nil {
			return fmt.Errorf("last write to %s: %w", s, err)
		}
		if a.Version != d.Version+1 {
			x.ledger.Violate("%s: version %d follows version %d", s, a.Version, d.Version)
		}
	}
	if err := cloud.Stop(10 * time.Second); err != nil {
		return err
	}
	return nil
}

// documents reads every shadow that was written to. One that is absent counts
// as an empty document.
func (x *experiment) documents(ctx context.Context) (map[Shadow]Document, error) {
	held := map[Shadow]Document{}
	for _, s := range x.ledger.Shadows() {
		d, err := x.api.GetShadow(ctx, s.Thing, s.Name)
		var status *cloudapi.StatusError
		if errors.As(err, &status) && status.Status == http.StatusNotFound {
			held[s] = Document{}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s, err)
		}
		doc, err := reduce(d)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s, err)
		}
		held[s] = doc
	}
	return held, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) {
	fmt.Fprintf(w, "kills        %d with SIGKILL, %d of them while the cloud was starting\n", r.Kills, r.WhileStart)
	fmt.Fprintf(w, "updaters     %d, half over MQTT and half over REST, on %d shadows\n", r.Updaters, r.Shadows)
	fmt.Fprintf(w, "writes       %d attempted, %d acknowledged (%d by the PUBACK alone), %d refused or not sent, %d of unknown fate\n",
		r.Writes.Attempted, r.Writes.Acknowledged, r.Writes.PubackOnly, r.Writes.Refused, r.Writes.Unknown)
	fmt.Fprintf(w, "versions     %d at the end\n", r.Versions)
	fmt.Fprintf(w, "recovery     p50 %.0f ms, max %.0f ms from start to ready\n", r.Recovery.P50, r.Recovery.Max)
	fmt.Fprintf(w, "time         %.1f s, %.1f %% stolen by the host\n", r.Seconds, r.Machine.StealPercent)
	fmt.Fprintf(w, "seed         %d\n", r.Seed)
	for _, v := range r.Violations {
		fmt.Fprintf(w, "VIOLATION    %s\n", v)
	}
	switch {
	case r.OK():
		fmt.Fprintln(w, "result       held: nothing acknowledged was lost, no version was used twice")
	case r.Violated > 0:
		fmt.Fprintf(w, "result       BROKEN: %d violations\n", r.Violated)
	default:
		fmt.Fprintln(w, "result       INCOMPLETE: the experiment could not be carried out to its end")
	}
}
