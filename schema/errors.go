package schema

import (
	"fmt"
	"strings"
)

// Problem is one reason why a document is refused.
type Problem struct {
	Path    string `json:"path"`            // dotted path from the section, such as run.resources.memory
	Message string `json:"message"`         // what is wrong and what would be right
	Value   any    `json:"value,omitempty"` // the offending value, when there is one
	Limit   any    `json:"limit,omitempty"` // the limit it breaks, when there is one
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Path)
	b.WriteString(": ")
	b.WriteString(p.Message)
	if p.Value != nil {
		fmt.Fprintf(&b, " (value %v", p.Value)
		if p.Limit != nil {
			fmt.Fprintf(&b, ", limit %v", p.Limit)
		}
		b.WriteByte(')')
	}
	return b.String()
}

// Error is returned by every Parse function and by Validate. It lists all
// problems found, not only the first, up to MaxProblems.
type Error struct {
	Kind     Kind
	Problems []Problem
}

// MaxProblems bounds an Error so that a hostile document costs a bounded reply.
const MaxProblems = 20

func (e *Error) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.String()
	}
	return fmt.Sprintf("invalid %s: %s", e.Kind, strings.Join(parts, "; "))
}

// check collects problems while a document is walked.
type check struct {
	kind     Kind
	problems []Problem
}

func (c *check) add(path, message string, value, limit any) {
	if len(c.problems) < MaxProblems {
		c.problems = append(c.problems, Problem{Path: path, Message: message, Value: value, Limit: limit})
	}
}

// need records a problem unless ok.
func (c *check) need(ok bool, path, message string, value any) {
	if !ok {
		c.add(path, message, value, nil)
	}
}

// within records a problem unless lo <= got <= hi.
func within[T int | int64 | float64 | Duration](c *check, path string, got, lo, hi T) {
	if got < lo || got > hi {
		c.add(path, fmt.Sprintf("must be from %v to %v", lo, hi), got, hi)
	}
}

func (c *check) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return &Error{Kind: c.kind, Problems: c.problems}
}

// RejectionCode makes a refused document a bad request for every transport.
func (e *Error) RejectionCode() int { return 400 }
