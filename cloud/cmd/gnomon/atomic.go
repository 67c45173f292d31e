package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"gnomon/cli/output"
	"gnomon/schema"
)

// life is when what is applied may be applied, and how long it holds.
type life struct {
	atomic     bool
	notBefore  string
	expires    string
	windows    []string
	when       string
	whenShadow string
	whenNow    bool
	clear      bool
	note       string
}

func (l *life) register(f *pflag.FlagSet) {
	f.BoolVar(&l.atomic, "atomic", false, "what the manifests say of one node is one change-set: all of it is written, as one generation, or nothing")
	f.StringVar(&l.notBefore, "not-before", "", "apply it then: a time such as 2026-11-21T22:00:00+01:00, or from now, such as 2h")
	f.StringVar(&l.expires, "expires", "", "not applied by then it is dropped, not reached by then taken back; as for --not-before")
	f.StringArrayVar(&l.windows, "window", nil, `apply it in this window, such as "mon-fri 22:00-04:00 Europe/Berlin"; may be repeated`)
	f.StringVar(&l.when, "when", "", "apply it when this selector holds, such as reported.battery>50; needs --expires")
	f.StringVar(&l.whenShadow, "when-shadow", "", "the shadow that --when is asked of, such as app:web; the classic one if none is given")
	f.BoolVar(&l.whenNow, "when-now", false, "refuse it if --when doesn't hold now, instead of waiting")
	f.BoolVar(&l.clear, "clear-when-reached", false, "remove it from desired once it is reported; not for applications and policies")
	f.StringVar(&l.note, "note", "", "what it is for, for those who look later")
}

// asked tells whether any of it is.
func (l *life) asked() bool {
	return l.atomic || l.notBefore != "" || l.expires != "" || len(l.windows) > 0 || l.when != "" || l.clear || l.note != ""
}

// plan is a change-set that is to be sent.
type plan struct {
	node   string
	origin string // for messages
	body   map[string]any
}

// plans puts manifests together, those of one node as one change-set. Manifests
// that are change-sets stay what they are.
func (l *life) plans(list []wanted, now time.Time) ([]plan, error) {
	var out []plan
	at := make(map[string]int)
	for _, w := range list {
		if w.Kind == changeSetKind {
			p := plan{node: w.Node, origin: w.origin}
			if err := json.Unmarshal(w.desired, &p.body); err != nil {
				return nil, fmt.Errorf("%s: %w", w.origin, err)
			}
			out = append(out, p)
			continue
		}
		i, there := at[w.Node]
		if !there {
			i = len(out)
			at[w.Node] = i
			out = append(out, plan{node: w.Node, origin: w.origin, body: map[string]any{"shadows": map[string]any{}}})
		}
		shadows := out[i].body["shadows"].(map[string]any)
		name := shadowOf(w)
		if _, twice := shadows[name]; twice {
			return nil, &usageError{fmt.Errorf("%s: %s is there twice", w.origin, w.Ref)}
		}
		shadows[name] = map[string]any{"desired": json.RawMessage(w.desired), "replace": true}
	}
	for _, p := range out {
		if err := l.into(p.body, now); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func shadowOf(w wanted) string {
	switch w.Kind {
	case schema.KindApplication:
		return schema.AppPrefix + w.Name
	case schema.KindPolicy:
		return schema.PolicyPrefix + w.Name
	}
	return ""
}

// into adds what the flags say to a change-set.
func (l *life) into(body map[string]any, now time.Time) error {
	for name, text := range map[string]string{"notBefore": l.notBefore, "expiresAt": l.expires} {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if d, short := time.ParseDuration(text); short == nil {
			t, err = now.Add(d), nil
		}
		if err != nil {
			return &usageError{fmt.Errorf("%q is neither a time such as 2026-11-21T22:00:00Z nor one from now such as 2h", text)}
		}
		body[name] = t.UTC().Format(time.RFC3339)
	}
	if len(l.windows) > 0 {
		body["windows"] = l.windows
	}
	if l.when != "" {
		body["precondition"] = map[string]string{l.whenShadow: l.when}
	} else if l.whenShadow != "" || l.whenNow {
		return &usageError{errors.New("--when-shadow and --when-now go with --when")}
	}
	if l.whenNow {
		body["wait"] = false
	}
	if l.clear {
		body["clearWhenReached"] = true
	}
	if l.note != "" {
		body["note"] = l.note
	}
	return nil
}

// applyAtomic sends change-sets, all checked by the cloud before the first.
func (s *session) applyAtomic(ctx context.Context, out, progress io.Writer, run applyRun) error {
	plans, err := run.life.plans(run.list, time.Now())
	if err != nil {
		return err
	}
	var refused error
	for _, p := range plans {
		if _, err := s.sendChange(ctx, p, true); err != nil {
			refused = errors.Join(refused, fmt.Errorf("%s: node %s: %w", p.origin, p.node, err))
		}
	}
	if refused != nil {
		return fmt.Errorf("nothing was changed: %w", refused)
	}
	if run.dryRun {
		for _, p := range plans {
			fmt.Fprintf(out, "change-set of node %s checked (dry run)\n", p.node)
		}
		return nil
	}
	var sent []*changeSet
	for _, p := range plans {
		c, err := s.sendChange(ctx, p, false)
		if err != nil {
			return fmt.Errorf("%s: node %s: %w", p.origin, p.node, err)
		}
		sent = append(sent, c)
		if s.format == output.Table {
			fmt.Fprintf(out, "change-set %s %s: %s\n", c.name(), c.state(), c.shadows())
		}
	}
	if run.wait > 0 {
		err = s.reach(ctx, progress, sent, run.wait)
	}
	if s.format != output.Table && err == nil {
		items := make([]json.RawMessage, len(sent))
		for i, c := range sent {
			items[i] = c.raw
		}
		return output.Write(out, s.format, map[string]any{"items": items})
	}
	return err
}

func (s *session) sendChange(ctx context.Context, p plan, dryRun bool) (*changeSet, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	path := changesPath(p.node)
	if dryRun {
		path += "?dryRun=server"
	}
	var raw json.RawMessage
	if err := s.Post(ctx, path, p.body, "", &raw); err != nil {
		return nil, err
	}
	return parseChange(raw)
}
