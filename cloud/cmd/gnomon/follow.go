package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/cloud/trace"
	"gnomon/schema"
)

// following is which change to explain, and how long to follow it.
type following struct {
	ref     client.Ref
	trace   string
	version uint64
	follow  bool
	limit   time.Duration
}

func (f following) named() bool { return f.trace != "" || f.version != 0 }

func (f following) path() string {
	q := url.Values{}
	if f.trace != "" {
		q.Set("trace", f.trace)
	}
	if f.version != 0 {
		q.Set("version", strconv.FormatUint(f.version, 10))
	}
	path := f.ref.Path() + "/explain"
	if f.ref.Kind == schema.KindFree {
		path = "/v1/things/" + url.PathEscape(f.ref.Node) + "/explain"
		q.Set("shadow", f.ref.Name)
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

// events is what the steps of the change's shadow are among.
func (f following) events() url.Values {
	q := url.Values{"thing": {f.ref.Node}}
	switch f.ref.Kind {
	case schema.KindApplication:
		q.Set("shadow", schema.AppPrefix+f.ref.Name)
	case schema.KindPolicy:
		q.Set("shadow", schema.PolicyPrefix+f.ref.Name)
	default:
		q.Set("shadow", f.ref.Name) // "" is the classic one
	}
	return q
}

// story is one change, step by step.
type story struct {
	Version    uint64        `json:"version"`
	Trace      string        `json:"trace"`
	State      trace.State   `json:"state"`
	Steps      []client.Step `json:"steps"`
	Superseded []struct {
		Version uint64 `json:"version"`
		Trace   string `json:"trace"`
		Reached string `json:"reached"`
	} `json:"superseded"`
}

func (s *story) print(w io.Writer) {
	s.head(w)
	for _, step := range s.Steps {
		printStep(w, step)
	}
}

func (s *story) head(w io.Writer) {
	id := s.Trace
	if id == "" {
		id = "not known"
	}
	fmt.Fprintf(w, "  change    version %d, trace %s\n", s.Version, id)
	for _, e := range s.Superseded {
		fmt.Fprintf(w, "  before    version %d, superseded when it was %s, trace %s\n", e.Version, e.Reached, e.Trace)
	}
}

// printStep prints one step in columns that don't depend on the others, as they
// may come one by one.
func printStep(w io.Writer, s client.Step) {
	at, after := "-", ""
	if !s.At.IsZero() {
		layout := "15:04:05.000"
		if s.Clock == string(trace.ClockSeconds) {
			layout = "15:04:05"
		}
		if t := s.At.Local(); t.Format(time.DateOnly) == time.Now().Format(time.DateOnly) {
			at = t.Format(layout)
		} else {
			at = t.Format(time.DateOnly + " " + layout)
		}
	}
	if s.After != nil {
		after = elapsed(*s.After)
	}
	text := s.Text
	switch s.State {
	case string(trace.Missing):
		at = "missing"
	case string(trace.Unknown):
		at = "unknown"
	}
	if s.Clock == string(trace.ClockNode) {
		after = "its clock"
	}
	line := fmt.Sprintf("    %-10s  %-12s  %9s  %s", s.Step, at, after, text)
	for len(line) > 0 && line[len(line)-1] == ' ' {
		line = line[:len(line)-1]
	}
	fmt.Fprintln(w, line)
}

// elapsed writes milliseconds since the write.
func elapsed(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("+%.1fms", ms)
	case ms < 10_000:
		return fmt.Sprintf("+%.0fms", ms)
	}
	return "+" + (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
}

// follower prints the steps of a change as they happen.
type follower struct {
	*session
	which following
	w     io.Writer

	version  uint64 // that is followed
	position string
	seen     map[string]bool
}

// errSettled ends the following of a stream: what happened may have been the end.
var errSettled = errors.New("look again")

// follow prints what is known of a change and then each further step, until it
// has converged or never will.
func (s *session) follow(ctx context.Context, w io.Writer, which following) error {
	if which.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, which.limit, errTimeout)
		defer cancel()
	}
	f := &follower{session: s, which: which, w: w, seen: map[string]bool{}}
	for {
		done, err := f.look(ctx)
		if err == nil && !done {
			// Of a change that the cloud no longer remembers there are no steps to
			// hear of, only the document to look at.
			wait, cancel := context.WithTimeout(ctx, look)
			_, err = s.Steps(wait, f.position, which.events(), f.step)
			if wait.Err() != nil {
				err = errSettled
			}
			cancel()
		}
		var answer *client.Error
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case done || errors.As(err, &answer) && answer.Status != http.StatusGone:
			return err
		case err != nil && f.position == "":
			return err // never reached
		case errors.Is(err, errSettled):
			continue
		}
		select { // the stream broke, or some steps are no longer kept
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// look reads the story, prints what is new in it and tells whether it has ended.
func (f *follower) look(ctx context.Context) (done bool, err error) {
	limited, cancel := f.limited(ctx)
	defer cancel()
	raw, err := f.Raw(limited, f.which.path())
	if err != nil {
		return false, err
	}
	var e explanation
	if err := json.Unmarshal(raw, &e); err != nil {
		return false, err
	}
	f.position = e.Position
	c := e.Change
	if c == nil {
		return true, fmt.Errorf("%s: nothing is desired of it, so there is nothing to follow", f.which.ref)
	}
	if f.version != c.Version {
		f.version = c.Version
		if f.format == output.Table {
			fmt.Fprintf(f.w, "%s\n", f.which.ref)
			c.head(f.w)
		}
	}
	for _, step := range c.Steps {
		if step.State != string(trace.Done) {
			continue
		}
		step.Version, step.Trace = c.Version, c.Trace
		if err := f.print(step); err != nil {
			return false, err
		}
	}
	switch c.State {
	case trace.StateConverged, trace.StateDeleted:
		return true, nil
	case trace.StateFailed:
		return true, fmt.Errorf("%s failed for good: %s", f.which.ref, e.Summary)
	case trace.StateSuperseded:
		if f.which.named() {
			return true, fmt.Errorf("version %d of %s was superseded before it had converged", c.Version, f.which.ref)
		}
	}
	return false, nil
}

// step prints a step of the change that is followed. Where it may be the last,
// or belongs to another change that is to be followed now, look has to tell.
func (f *follower) step(s client.Step) error {
	if s.Version != f.version {
		if s.Version > f.version && !f.which.named() {
			return errSettled
		}
		return nil
	}
	if err := f.print(s); err != nil {
		return err
	}
	switch trace.Name(s.Step) {
	case trace.StepConverged, trace.StepFailed, trace.StepSuperseded, trace.StepDelivered:
		return errSettled
	}
	return nil
}

// maxSeen bounds what is remembered of what was printed.
const maxSeen = 10_000

// print prints a step once, by version, name and text: it may come with the story
// and by the stream.
func (f *follower) print(s client.Step) error {
	name, key := fmt.Sprint(s.Version, s.Step), fmt.Sprint(s.Version, s.Step, s.Text)
	derived := s.At.IsZero() || s.Clock != "" // which says less than a step that was heard of
	if f.seen[key] || derived && f.seen[name] {
		return nil
	}
	if len(f.seen) >= maxSeen {
		clear(f.seen)
	}
	f.seen[name], f.seen[key] = true, true
	if s.ID = ""; s.State == "" {
		s.State = string(trace.Done)
	}
	switch f.format {
	case output.JSON:
		line, err := json.Marshal(s)
		if err == nil {
			_, err = fmt.Fprintln(f.w, string(line)) // one step a line, for programs
		}
		return err
	case output.YAML:
		fmt.Fprintln(f.w, "---")
		return output.Write(f.w, output.YAML, s)
	}
	printStep(f.w, s)
	return nil
}
