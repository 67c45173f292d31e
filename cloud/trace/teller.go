package trace

import (
	"fmt"
	"strings"
	"time"

	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

// teller makes one Story of what is remembered of a change, what the document
// says, and who is connected.
type teller struct {
	log     *Log
	key     store.Key
	version uint64
	c       *change          // nil: nothing is remembered
	d       *shadow.Document // the current one
	past    *Past            // what the history says of the current version; nil: nothing

	kind     schema.Kind
	typed    bool // a node acts on it and says on which version
	current  bool // the document's desired is that of the change
	plan     schema.Plan
	planned  bool
	observed bool // the node has acted on the change, or on a later one
	fault    *schema.Fault

	story  Story
	missed bool // a step is missing: those that follow need no reason
}

func (t *teller) tell() *Story {
	t.kind, _ = schema.KindOf(t.key.Shadow)
	t.typed = acted(t.key.Shadow, t.d) || t.d == nil && t.kind != schema.KindFree
	t.story = Story{Version: t.version, State: StateOpen, Since: t.log.began.UTC()}
	t.read()
	if t.c != nil {
		t.story.Trace, t.story.Parent = t.c.trace, t.c.Parent
	}
	t.begin()
	t.delivered()
	if t.c == nil || !t.c.Deleted {
		if t.kind == schema.KindApplication || t.kind == schema.KindPolicy {
			t.plannedStep()
		}
		t.reported()
	}
	t.close()
	t.earlier()
	return &t.story
}

// read takes in what the document says of the change.
func (t *teller) read() {
	if !t.d.Exists() {
		if t.c != nil {
			t.plan, t.planned = t.c.plan, t.c.plan.Version > 0
			t.observed = t.typed && !t.c.reported.IsZero()
		}
		return
	}
	t.current = t.d.DesiredVersion == t.version
	observed, fault := schema.OutcomeOf(t.key.Shadow, t.d.Reported)
	t.observed = t.typed && observed >= t.version
	if t.current && t.observed {
		t.fault = fault
	}
	if p, ok := schema.PlanOf(t.d.Reported); ok && t.typed && p.Version == t.version {
		t.plan, t.planned = p, true
		t.story.Trace = p.Trace
	} else if t.c != nil && t.c.plan.Version > 0 {
		t.plan, t.planned = t.c.plan, true
	}
}

// step adds a step with a time of the server's.
func (t *teller) step(name Name, at time.Time, text string) {
	s := Step{Name: name, State: Done, At: at.UTC(), Text: text}
	if t.c != nil && !at.IsZero() {
		after := milliseconds(at.Sub(t.c.Written))
		s.After = &after
	}
	t.story.Steps = append(t.story.Steps, s)
}

// other adds a step that is no such one.
func (t *teller) other(s Step) {
	s.At = s.At.UTC()
	t.story.Steps = append(t.story.Steps, s)
}

// missing adds a step that has not happened. Of a change that has been superseded
// nothing is waited for any more.
func (t *teller) missing(name Name, why string) {
	if t.c != nil && t.c.end == superseded {
		return
	}
	if t.missed {
		why = ""
	}
	t.missed = true
	t.other(Step{Name: name, State: Missing, Text: why})
}

// begin adds what happened in the cloud alone.
func (t *teller) begin() {
	if c := t.c; c != nil {
		t.step(StepWritten, c.Written, c.text(StepWritten))
		t.step(StepCommitted, c.committed, c.text(StepCommitted))
		t.step(StepPublished, c.published, c.text(StepPublished))
		return
	}
	by := "by whom is not known"
	if t.past != nil && t.past.By != "" {
		by = writtenText(t.past.By, t.past.Door)
	}
	if t.past != nil && t.story.Trace == "" {
		t.story.Trace = t.past.Trace
	}
	t.other(Step{Name: StepWritten, State: Done, At: second(newest(t.d.Desired)), Clock: ClockSeconds, Text: by})
	t.other(Step{Name: StepCommitted, State: Done, Text: fmt.Sprintf("version %d", t.version)})
	t.other(Step{Name: StepPublished, State: Unknown, Text: t.forgotten()})
}

// forgotten says why nothing is remembered.
func (t *teller) forgotten() string {
	if at := second(newest(t.d.Desired)); at.Before(t.log.began.Truncate(time.Second)) {
		return "before this server started at " + t.log.began.UTC().Format(time.RFC3339)
	}
	return "this server has not heard of it, or has forgotten it among many later ones"
}

func (t *teller) delivered() {
	c := t.c
	switch {
	case c != nil && !c.delivered.IsZero():
		t.step(StepDelivered, c.delivered, c.text(StepDelivered))
	case t.planned && !t.plan.At.IsZero():
		t.other(Step{Name: StepDelivered, State: Done, At: t.plan.At, Clock: ClockNode, Text: t.key.Thing + " has it on its disk"})
	case t.observed:
		t.other(Step{Name: StepDelivered, State: Done, Text: t.key.Thing + " has acted on it"})
	case c == nil && !t.typed:
		t.other(Step{Name: StepDelivered, State: Unknown, Text: t.absent()})
	case c == nil:
		t.missed = true
		t.other(Step{Name: StepDelivered, State: Unknown, Text: t.absent()})
	case !t.typed && !c.reported.IsZero():
		t.other(Step{Name: StepDelivered, State: Unknown, Text: "nobody has acknowledged it"})
	case !c.Sent.Known:
		t.other(Step{Name: StepDelivered, State: Unknown, Text: "acknowledgements don't come here"})
	default:
		t.missing(StepDelivered, t.absent())
	}
}

// absent says why a change has not been delivered, as far as that is known.
func (t *teller) absent() string {
	thing := t.key.Thing
	p, known := t.log.presence.clients[thing]
	since := p.since.UTC().Format(time.RFC3339)
	where := ""
	if p.remote {
		where = " to another replica"
	}
	switch {
	case known && p.connected && t.c != nil && t.c.Sent.listeners() > 0:
		return fmt.Sprintf("%s is connected%s and has not acknowledged it", thing, where)
	case known && p.connected:
		return fmt.Sprintf("%s is connected%s since %s and gets it with its next sync", thing, where, since)
	case known:
		return fmt.Sprintf("%s is offline since %s", thing, since)
	case t.c != nil && t.c.Sent.Acknowledging > 0:
		return "nobody has acknowledged it"
	case t.c != nil && t.c.Sent.listeners() > 0:
		return "who listens does so at quality of service 0, which acknowledges nothing"
	case t.log.cfg.Listeners == nil:
		return "nothing of it has been heard; only the MQTT broker knows who is connected to it"
	default:
		return fmt.Sprintf("%s has not been connected since this server started at %s", thing, t.log.began.UTC().Format(time.RFC3339))
	}
}

// plannedStep adds what the node began. Its times are counted from when it had
// the change on its disk, which the server knows to a message's way.
func (t *teller) plannedStep() {
	switch {
	case t.planned && t.plannedAt().IsZero():
		s := Step{Name: StepPlanned, State: Done, At: t.plan.At, Clock: ClockNode, Text: t.planText()}
		if len(t.plan.Steps) > 0 && !s.At.IsZero() {
			s.At = s.At.Add(t.plan.Steps[0].After.D())
		}
		t.other(s)
	case t.planned:
		t.step(StepPlanned, t.plannedAt(), t.planText())
	case t.observed:
		t.other(Step{Name: StepPlanned, State: Unknown, Text: "the node reports no plan for this version"})
	default:
		t.missing(StepPlanned, "the node has not planned it yet")
	}
}

func (t *teller) planText() string {
	blockers := []string(nil)
	if t.current {
		blockers = blockersOf(t.d.Reported)
	} else if t.c != nil {
		blockers = t.c.blockers
	}
	return planText(t.plan, blockers)
}

// plannedAt is when the plan was made, by the server's clock; zero when only the
// node's is known.
func (t *teller) plannedAt() time.Time {
	c := t.c
	if c == nil || c.planned.IsZero() {
		return time.Time{}
	}
	if c.delivered.IsZero() || len(t.plan.Steps) == 0 {
		return c.planned
	}
	at := c.delivered.Add(t.plan.Steps[0].After.D())
	if at.After(c.planned) {
		return c.planned
	}
	return at
}

func (t *teller) reported() {
	c := t.c
	switch {
	case c != nil && !c.reported.IsZero():
		t.step(StepReported, c.reported, t.reportedText())
	case t.observed:
		s := Step{Name: StepReported, State: Done, Text: t.reportedText()}
		if at := second(t.observedStamp()); t.current && !at.IsZero() {
			s.At, s.Clock = at, ClockSeconds
		}
		t.other(s)
	case !t.typed && c == nil:
		t.other(Step{Name: StepReported, State: Unknown})
	case c != nil && c.Met:
		t.other(Step{Name: StepReported, State: Done, Text: "before it was desired"})
	default:
		t.missing(StepReported, t.behind())
	}
}

func (t *teller) behind() string {
	if !t.typed {
		return "nothing has been reported since"
	}
	if !t.d.Exists() {
		return ""
	}
	observed, _ := schema.OutcomeOf(t.key.Shadow, t.d.Reported)
	if t.planned && t.current {
		if phase := t.d.Reported.Get("phase").Text(); phase != "" {
			return fmt.Sprintf("the node is at it: %s; it last acted on version %d", clip(phase), observed)
		}
	}
	return fmt.Sprintf("the node last acted on version %d", observed)
}

func (t *teller) reportedText() string {
	if t.current && t.typed {
		if phase := t.d.Reported.Get("phase").Text(); phase != "" {
			return clip(phase)
		}
	}
	if t.c != nil {
		return t.c.phase
	}
	return ""
}

func (t *teller) observedStamp() int64 {
	v := t.d.Reported
	if t.kind == schema.KindNode {
		v = v.Get(schema.NodeMember)
	}
	return v.Get("observedVersion").Stamp()
}

// close adds how it ended, or what it waits for.
func (t *teller) close() {
	c := t.c
	if c != nil && c.fault != nil {
		t.step(StepFailed, c.failed, c.text(StepFailed))
	} else if t.fault != nil {
		t.other(Step{Name: StepFailed, State: Done, Text: faultText(t.fault)})
	}
	switch {
	case c != nil && c.end == superseded:
		t.story.State = StateSuperseded
		t.step(StepSuperseded, c.ended, c.text(StepSuperseded))
	case c != nil && c.Deleted:
		if c.end == gone {
			t.story.State = StateDeleted
		}
	case c != nil && c.end == converged:
		t.story.State = StateConverged
		t.step(StepConverged, c.ended, "")
	case t.current && schema.StatusOf(t.key.Shadow, t.d).Converged:
		t.story.State = StateConverged
		t.other(Step{Name: StepConverged, State: Done})
	default:
		if t.fault != nil && !t.fault.Retryable {
			t.story.State = StateFailed
		}
		t.missing(StepConverged, t.pending())
	}
}

// pending says what desired has that isn't applied.
func (t *teller) pending() string {
	if t.fault != nil || !t.d.Exists() {
		return ""
	}
	const most = 3
	paths := shadow.Paths(t.d.Delta())
	if len(paths) > most {
		return fmt.Sprintf("not applied yet: %s and %d more", clip(strings.Join(paths[:most], ", ")), len(paths)-most)
	}
	if len(paths) > 0 {
		return "not applied yet: " + clip(strings.Join(paths, ", "))
	}
	return ""
}

func (t *teller) earlier() {
	if t.c == nil {
		return
	}
	for e := t.c.older; e != nil && e.end == superseded && len(t.story.Superseded) < maxEarlier; e = e.older {
		t.story.Superseded = append(t.story.Superseded, Earlier{e.Version, e.trace, e.reached()})
	}
}

// reached is the last step that is known of a change before it ended.
func (c *change) reached() Name {
	switch {
	case !c.failed.IsZero():
		return StepFailed
	case !c.reported.IsZero():
		return StepReported
	case !c.planned.IsZero():
		return StepPlanned
	case !c.delivered.IsZero():
		return StepDelivered
	}
	return StepPublished
}

// newest is the latest stamp of a section's leaves.
func newest(v *shadow.Value) int64 {
	at := v.Stamp()
	for _, m := range v.Members() {
		at = max(at, newest(m))
	}
	return at
}

func second(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(at, 0).UTC()
}
