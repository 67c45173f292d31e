package changeset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Request is a change-set as clients send it.
type Request struct {
	Shadows          map[string]RequestShare `json:"shadows" doc:"what is to be changed, by the name of the shadow, such as app:web; the empty name is the classic shadow"`
	NotBefore        string                  `json:"notBefore,omitempty" doc:"RFC 3339; it is not applied before"`
	ExpiresAt        string                  `json:"expiresAt,omitempty" doc:"RFC 3339; not applied by then it is expired, applied and not reached by then it is taken back"`
	Windows          []Window                `json:"windows,omitempty" doc:"it is applied in one of these"`
	Precondition     Precondition            `json:"precondition,omitempty" doc:"a selector that must hold for the classic shadow, or an object of selectors by shadow"`
	Wait             *bool                   `json:"wait,omitempty" doc:"false: refuse it if the precondition does not hold now"`
	ClearWhenReached bool                    `json:"clearWhenReached,omitempty" doc:"remove from desired what it wrote once it is reported; not for applications and policies"`
	Note             string                  `json:"note,omitempty"`
}

// RequestShare is what a change-set changes of one shadow.
type RequestShare struct {
	Desired json.RawMessage `json:"desired" doc:"a merge patch (RFC 7396), or with replace all that is to be desired"`
	Replace bool            `json:"replace,omitempty"`
	Version *uint64         `json:"version,omitempty" doc:"the version that must be current when it is applied; 0: there must be no such shadow"`
}

// Precondition is selectors by shadow; as a text, one for the classic shadow.
type Precondition map[string]string

// UnmarshalJSON reads a text or an object.
func (p *Precondition) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*p = Precondition{"": text}
		return nil
	}
	return json.Unmarshal(b, (*map[string]string)(p))
}

// Rules are what a request is held to.
type Rules struct {
	Now      time.Time
	Limits   shadow.Limits
	Bounds   Bounds
	Selector func(selector string) error // checks one
}

// check collects what is wrong.
type check struct {
	Rules
	problems []schema.Problem
}

func (c *check) add(path, message string, value, limit any) {
	if len(c.problems) < schema.MaxProblems {
		c.problems = append(c.problems, schema.Problem{Path: path, Message: message, Value: value, Limit: limit})
	}
}

// ParseRequest reads a change-set. The error is a *schema.Error with everything
// that is wrong, or a *shadow.InvalidError of what is no such thing at all.
func ParseRequest(body []byte, r Rules) (*Change, error) {
	if _, err := shadow.Parse(body, shadow.Limits{BodyBytes: r.Limits.BodyBytes, Depth: shadow.MaxDepth}); err != nil {
		return nil, err
	}
	var q Request
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil || dec.Decode(new(any)) != io.EOF { //nolint:errorlint // the decoder returns it itself
		return nil, &shadow.InvalidError{Message: "Invalid change-set", Detail: strings.TrimPrefix(fmt.Sprint(err), "json: ")}
	}
	c := &check{Rules: r}
	out := &Change{Note: q.Note, Shadows: c.shadows(q.Shadows), Life: c.life(&q)}
	if len(q.Note) > r.Bounds.Note {
		c.add("note", fmt.Sprintf("has at most %d bytes", r.Bounds.Note), len(q.Note), r.Bounds.Note)
	}
	if len(c.problems) > 0 {
		return nil, &schema.Error{Kind: "change-set", Problems: c.problems}
	}
	return out, nil
}

func (c *check) shadows(asked map[string]RequestShare) map[string]*Share {
	if n := len(asked); n == 0 || n > c.Bounds.Shadows {
		c.add("shadows", fmt.Sprintf("names 1 to %d shadows", c.Bounds.Shadows), n, c.Bounds.Shadows)
		return nil
	}
	out := make(map[string]*Share)
	for name, share := range asked {
		at := `shadows."` + name + `"`
		if name != "" && !wire.ValidShadow(name) {
			c.add(at, "is no shadow's name: 1 to 64 of letters, digits and $:_-, or empty for the classic shadow", nil, nil)
			continue
		}
		if err := c.desired(share); err != nil {
			c.add(at+".desired", err.Error(), nil, nil)
			continue
		}
		out[name] = &Share{Desired: compact(share.Desired), Replace: share.Replace, Expect: share.Version}
	}
	return out
}

func (c *check) desired(share RequestShare) error {
	if len(share.Desired) == 0 {
		return errors.New("is missing")
	}
	u, err := shadow.ParseUpdate(slices.Concat([]byte(`{"state":{"desired":`), share.Desired, []byte(`}}`)), shadow.Limits{
		StateBytes: c.Limits.StateBytes, Depth: c.Limits.Depth, BodyBytes: maxDesired, // the body as a whole has been measured
	})
	if err != nil {
		return err
	}
	if u.Desired.Patch == nil {
		return errors.New("must be an object; to remove a shadow, delete it")
	}
	return nil
}

func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

func (c *check) life(q *Request) Life {
	l := Life{Windows: q.Windows, Precondition: q.Precondition, ClearWhenReached: q.ClearWhenReached}
	l.NoWait = q.Wait != nil && !*q.Wait
	now := c.Now.Unix()
	l.NotBefore = c.time("notBefore", q.NotBefore)
	if l.NotBefore <= now {
		l.NotBefore = 0
	}
	if l.ExpiresAt = c.time("expiresAt", q.ExpiresAt); l.ExpiresAt != 0 && l.ExpiresAt <= now {
		c.add("expiresAt", "is in the past", q.ExpiresAt, c.Now.UTC().Format(time.RFC3339))
	}
	if len(l.Windows) > c.Bounds.Windows {
		c.add("windows", fmt.Sprintf("are at most %d", c.Bounds.Windows), len(l.Windows), c.Bounds.Windows)
		l.Windows = nil
	}
	if opens := NextOpen(l.Windows, max(now, l.NotBefore)); l.ExpiresAt > now && opens >= l.ExpiresAt {
		c.add("expiresAt", "comes before it could be applied: notBefore and windows allow that not before "+time.Unix(opens, 0).UTC().Format(time.RFC3339), q.ExpiresAt, nil)
	}
	for name, selector := range l.Precondition {
		at := "precondition"
		if name != "" {
			at += `."` + name + `"`
		}
		if name != "" && !wire.ValidShadow(name) {
			c.add(at, "is no shadow's name", nil, nil)
		} else if err := c.Selector(selector); err != nil {
			c.add(at, err.Error(), selector, nil)
		}
	}
	if len(l.Precondition) > c.Bounds.Shadows {
		c.add("precondition", fmt.Sprintf("names at most %d shadows", c.Bounds.Shadows), len(l.Precondition), c.Bounds.Shadows)
	}
	if len(l.Precondition) > 0 && !l.NoWait && q.ExpiresAt == "" {
		c.add("expiresAt", "is missing: a change-set with a precondition waits for it until then; with wait false it doesn't wait", nil, nil)
	}
	if l.ClearWhenReached {
		c.clearable(q.Shadows)
	}
	return l
}

// clearable refuses to clear what an agent would then undo.
func (c *check) clearable(shadows map[string]RequestShare) {
	for name, share := range shadows {
		kind, _ := schema.KindOf(name)
		var top map[string]json.RawMessage
		_ = json.Unmarshal(share.Desired, &top) // what is no object was found before
		if _, node := top[schema.NodeMember]; kind == schema.KindApplication || kind == schema.KindPolicy || kind == schema.KindNode && node {
			c.add("clearWhenReached", "is for what is done once: the agent would undo it in "+kindWord(kind, name), name, nil)
		}
	}
}

func kindWord(kind schema.Kind, name string) string {
	if kind == schema.KindNode {
		return "the node's own settings"
	}
	return string(kind) + " " + name
}

// time reads a time, rounded up to a second; 0 when there is none.
func (c *check) time(path, text string) int64 {
	if text == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		c.add(path, "must be a time as RFC 3339 has it, such as 2026-11-21T22:00:00Z", text, nil)
		return 0
	}
	at := t.Unix()
	if t.Nanosecond() > 0 {
		at++
	}
	if last := c.Now.Unix() + c.Bounds.Horizon; at > last {
		c.add(path, fmt.Sprintf("is more than %d days from now", c.Bounds.Horizon/86400), text, time.Unix(last, 0).UTC().Format(time.RFC3339))
	}
	return at
}
